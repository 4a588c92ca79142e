/* rng.c -- normally distributed numbers, bit for bit the same everywhere.
**
** Marsaglia's polar method. The logarithm is our own: that of libm differs in
** its last bit between libraries and versions, and numbers drawn here decide
** what is written to a file (random rotations). Only + - * / and sqrt are
** used, which IEEE 754 rounds in one way, and the build forbids contraction.
*/
#include <math.h>

#include "util/common.h"
#include "util/rng.h"

/* Natural logarithm of a normal x>0. With x = m * 2^e and m in [1/sqrt 2,
** sqrt 2), log x = 2 atanh(z) + e log 2 for z = (m-1)/(m+1), |z| < 0.172.
** The eleventh term of the series is below 1e-17. */
static double log_portable(double x){
  int e = 0;
  double m = frexp(x, &e), z, z2, sum = 0;

  if( m<0.70710678118654752440 ){
    m += m;
    e--;
  }
  z = (m-1)/(m+1);
  z2 = z*z;
  for(int k=21; k>=1; k-=2) sum = sum*z2 + 1.0/k;
  return 2*z*sum + e*0.69314718055994530942;
}

/* The second number of each pair is thrown away: keeping it would make the
** state of a generator more than its seed. */
double vdb_rng_gauss(struct vdb_rng *r){
  double u, v, s;
  do{
    u = 2*vdb_rng_unit(r) - 1;
    v = 2*vdb_rng_unit(r) - 1;
    s = u*u + v*v;
  }while( s>=1 || s<1e-300 );
  return u * sqrt(-2*log_portable(s)/s);
}
