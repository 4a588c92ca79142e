/* gen-code-scale.c -- prints the constants of simd/code.c.
**
** A Gaussian element g of variance 1 is coded as x = sgn(g)*(k+1/2), where
** k = min(floor(s*abs(g)), m). The cosine of many such elements tends to
** E[x*g]/sqrt(E[x*x]). Both are sums of closed forms over the cells of the
** quantiser; the best s is found by golden section search.
**
** Build and run:  cc -O2 -o g tools/gen-code-scale.c -lm && ./g
*/
#include <math.h>
#include <stdio.h>

static double density(double z){ return exp(-z*z/2)/sqrt(2*acos(-1)); }
static double above(double z){ return erfc(z/sqrt(2))/2; }

/* Cosine of the quantiser with m+1 cells a side and s cells per unit. */
static double cosine(int m, double s){
  double xg = 0, xx = 0;
  for(int k=0; k<=m; k++){
    double lo = k/s, hi = (k+1)/s;
    double d_hi = k<m ? density(hi) : 0, a_hi = k<m ? above(hi) : 0;
    xg += 2*(k+0.5)*(density(lo) - d_hi);
    xx += 2*(k+0.5)*(k+0.5)*(above(lo) - a_hi);
  }
  return xg/sqrt(xx);
}

int main(void){
  const double g = (sqrt(5)-1)/2;
  for(int bits=2; bits<=4; bits+=2){
    int m = (1<<(bits-1)) - 1;
    double a = 0.1, b = 8;
    while( b-a>1e-9 ){
      double x = b - g*(b-a), y = a + g*(b-a);
      if( cosine(m, x)>cosine(m, y) ) b = y; else a = x;
    }
    printf("#define CODE_SCALE_%d  %.6ff   /* cosine %.6f, tan %.4f */\n",
           bits, a, cosine(m, a),
           sqrt(1/(cosine(m, a)*cosine(m, a)) - 1));
  }
  return 0;
}
