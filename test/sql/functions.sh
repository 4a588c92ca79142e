#!/bin/sh
# functions.sh -- the scalar functions vec_* and vec_each.
# shellcheck disable=SC1091
. "$VECDB_SRC/test/sql/lib.inc"
export DB=:memory:

# Constructors and facts.
is f32_json '0000803F00000040' "SELECT hex(vec_f32('[1, 2]'));"
is f32_blob '0000803F' "SELECT hex(vec_f32(x'0000803f'));"
is f32_space '3' "SELECT vec_length(' [1 , 2.5e0,-3] ');"
is int8_json '01FF80' "SELECT hex(vec_int8('[1,-1,-128]'));"
is uint8_json '01FF' "SELECT hex(vec_uint8('[1,255]'));"
is bit_blob '16|bit' "SELECT vec_length(vec_bit(x'0f01')), vec_type(vec_bit(x'00'));"
is f16_json '003C00C0' "SELECT hex(vec_f16('[1,-2]'));"
is f16_from_f32 '003C' "SELECT hex(vec_f16(vec_f32('[1]')));"
is bf16_json '803F00C0' "SELECT hex(vec_bf16('[1,-2]'));"
is types 'float32|int8|bit|float16|bfloat16|uint8' \
  "SELECT vec_type('[1]'), vec_type(vec_int8('[1]')), vec_type(vec_bit(x'01')),
     vec_type(vec_f16('[1]')), vec_type(vec_bf16('[1]')), vec_type(vec_uint8('[1]'));"
is untyped_blob_is_f32 'float32' "SELECT vec_type(x'00000000');"
is nested_subtype 'int8' \
  "SELECT vec_type(vec_slice(vec_int8('[1,2]'),0,1));"

# JSON out.
is json_f32 '[1.000000,-0.500000]' "SELECT vec_to_json('[1,-0.5]');"
is json_exact '[1,0.1]' "SELECT vec_to_json('[1,0.1]','exact');"
is json_int8 '[1,-2]' "SELECT vec_to_json(vec_int8('[1,-2]'));"
is json_bit_lsb_first '[1,1,1,1,0,0,0,0]' "SELECT vec_to_json(vec_bit(x'0f'));"
is json_f16 '[0.500000]' "SELECT vec_to_json(vec_f16('[0.5]'));"
is json_is_json 'array' "SELECT json_type(json_array(vec_to_json('[1]')), '\$[0]');"

# Arithmetic.
is add '[5.000000,7.000000]' "SELECT vec_to_json(vec_add('[1,2]','[4,5]'));"
is sub '[-3.000000,-3.000000]' "SELECT vec_to_json(vec_sub('[1,2]','[4,5]'));"
is add_int8_wraps '[-128]' \
  "SELECT vec_to_json(vec_add(vec_int8('[127]'),vec_int8('[1]')));"
is slice '[2.000000,3.000000]' "SELECT vec_to_json(vec_slice('[1,2,3,4]',1,3));"
is slice_bit '[1,0,0,0,0,0,0,0]' \
  "SELECT vec_to_json(vec_slice(vec_bit(x'ff01'),8,16));"
is normalize '[0.600000,0.800000]' "SELECT vec_to_json(vec_normalize('[3,4]'));"
is normalize_zero '[0.000000,0.000000]' \
  "SELECT vec_to_json(vec_normalize('[0,0]'));"
is quantize_binary '15' \
  "SELECT hex(vec_quantize_binary('[1,-1,2,0,0.1,-9,0,-1]'));"
is quantize_int8 '[-128,0,126,127]' \
  "SELECT vec_to_json(vec_quantize_int8('[-1,0,1,2]','unit'));"

# Distances.
is l2 '5.0' "SELECT vec_distance_l2('[0,0]','[3,4]');"
is l1 '7.0' "SELECT vec_distance_l1('[0,0]','[3,-4]');"
is l2_int8 '5.0' "SELECT vec_distance_l2(vec_int8('[0,0]'),vec_int8('[3,4]'));"
is cosine_same '0.0' "SELECT round(vec_distance_cosine('[1,0]','[2,0]'),6);"
is cosine_opposite '2.0' "SELECT round(vec_distance_cosine('[1,0]','[-2,0]'),6);"
is cosine_zero 'null' "SELECT typeof(vec_distance_cosine('[0,0]','[1,0]'));"
is ip '-11.0' "SELECT vec_distance_ip('[1,2]','[3,4]');"
is hamming '4.0' "SELECT vec_distance_hamming(vec_bit(x'0f'),vec_bit(x'00'));"
is jaccard '0.5' "SELECT vec_distance_jaccard(vec_bit(x'03'),vec_bit(x'01'));"
is jaccard_empty '0.0' \
  "SELECT vec_distance_jaccard(vec_bit(x'00'),vec_bit(x'00'));"

# vec_each.
is each_f32 '0|1.5
1|-2.0' "SELECT rowid, value FROM vec_each('[1.5,-2]');"
is each_bit '1,0,0,0,1,0,0,0' \
  "SELECT group_concat(value) FROM vec_each(vec_bit(x'11'));"
is each_int8 '5|integer' \
  "SELECT value, typeof(value) FROM vec_each(vec_int8('[5]'));"
is each_join '3.0' "WITH s(v) AS (VALUES('[1,2]')) SELECT sum(value) FROM s, vec_each(s.v);"

# Versions.
is version '1' "SELECT vec_version() LIKE 'v0.1.%-vecdb-%';"
is debug '1' "SELECT vec_debug() LIKE 'Version: v%Build flags:%';"
is vecdb_version '1' "SELECT vecdb_version() GLOB '[0-9]*.[0-9]*.[0-9]*';"

# The sentences of sqlite-vec.
bad() { fails "$1" "$2" "SELECT $3;"; }
bad not_array "JSON array parsing error: Input does not start with '['" "vec_f32('1,2')"
bad open_array 'JSON parsing error' "vec_f32('[1,2')"
bad no_comma 'JSON parsing error' "vec_f32('[1 2]')"
bad two_commas 'JSON parsing error' "vec_f32('[1,,2]')"
bad last_comma 'JSON parsing error' "vec_f32('[1,]')"
bad hex_number 'JSON parsing error' "vec_f32('[0x10]')"
bad nested 'JSON parsing error' "vec_f32('[[1]]')"
bad json_null 'JSON parsing error' "vec_f32('[null]')"
bad trailing 'JSON parsing error' "vec_f32('[1] x')"
bad json_nan 'JSON parsing error' "vec_f32('[NaN]')"
bad overflow 'JSON parsing error' "vec_f32('[1e39]')"
bad empty_json 'zero-length vectors are not supported.' "vec_f32('[ ]')"
bad empty_blob 'zero-length vectors are not supported.' "vec_f32(x'')"
bad odd_blob 'invalid float32 vector BLOB length. Must be divisible by 4, found 3' "vec_f32(x'010203')"
bad nan_blob 'invalid float32 vector: element 0 is NaN' "vec_f32(x'0000c07f')"
bad inf_blob 'invalid float32 vector: element 1 is Inf' "vec_f32(x'000000000000807f')"
bad null_value 'Input must have type BLOB (compact format) or TEXT (JSON), found NULL' 'vec_f32(NULL)'
bad int_value 'found INTEGER' 'vec_length(1)'
bad int8_range 'JSON parsing error: value out of range for int8' "vec_int8('[128]')"
bad bit_text 'Unknown type for bitvector.' "vec_bit('[1]')"
bad first_vector "Error reading 1st vector: JSON array parsing error: Input does not start with '['" "vec_add('x','[1]')"
bad second_vector 'Error reading 2nd vector' "vec_add('[1]','x')"
bad type_mismatch 'Vector type mistmatch. First vector has type float32, while the second has type int8.' "vec_distance_l2('[1]',vec_int8('[1]'))"
bad dim_mismatch 'Vector dimension mistmatch. First vector has 1 dimensions, while the second has 2 dimensions.' "vec_distance_l2('[1]','[1,2]')"
bad l2_bits 'Cannot calculate L2 distance between two bitvectors.' "vec_distance_l2(vec_bit(x'01'),vec_bit(x'01'))"
bad cosine_bits 'Cannot calculate cosine distance between two bitvectors.' "vec_distance_cosine(vec_bit(x'01'),vec_bit(x'01'))"
bad l1_bits 'Cannot calculate L1 distance between two bitvectors.' "vec_distance_l1(vec_bit(x'01'),vec_bit(x'01'))"
bad hamming_floats 'Cannot calculate hamming distance between two float32 vectors.' "vec_distance_hamming('[1]','[1]')"
bad hamming_int8 'Cannot calculate hamming distance between two int8 vectors.' "vec_distance_hamming(vec_int8('[1]'),vec_int8('[1]'))"
bad quantize_unit "2nd argument to vec_quantize_int8() must be 'unit'." "vec_quantize_int8('[1]','x')"
bad quantize_length 'Binary quantization requires vectors with a length divisible by 8' "vec_quantize_binary('[1]')"
bad slice_negative "slice 'start' index must be a postive number." "vec_slice('[1,2]',-1,1)"
bad slice_over "slice 'end' index is greater than the number of dimensions" "vec_slice('[1,2]',0,3)"
bad slice_order "slice 'start' index is greater than 'end' index" "vec_slice('[1,2]',2,1)"
bad slice_empty 'vectors must have non-zero length' "vec_slice('[1,2]',1,1)"
bad slice_bits 'start index must be divisible by 8.' "vec_slice(vec_bit(x'0000'),1,8)"
bad each_none 'vec_each() needs a vector' 'value FROM vec_each'

# A comma as decimal point somewhere in the environment changes nothing.
out=$(LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 sql "SELECT vec_to_json('[1.5]');")
if [ "$out" = '[1.500000]' ]; then passed; else failed locale "$out"; fi

# Loading twice, and next to functions of the same name, changes nothing.
is load_twice 'float32' ".load $VECDB_BUILD/vecdb
SELECT vec_type('[1]');"
out=$(LD_PRELOAD=${VECDB_PRELOAD-} "$SQLITE3" -batch :memory: ".load $VECDB_BUILD/vecdb" \
  ".load $VECDB_BUILD/vecdb" "SELECT count(*) FROM pragma_function_list WHERE name='vec_f32'" 2>&1)
if [ "$out" = 1 ]; then passed; else failed registered_once "$out"; fi
cp "$VECDB_BUILD/vecdb.so" vec0.so
out=$(LD_PRELOAD=${VECDB_PRELOAD-} "$SQLITE3" -batch :memory: '.load ./vec0' "SELECT vec_length('[1,2]')" 2>&1)
if [ "$out" = 2 ]; then passed; else failed loads_as_vec0 "$out"; fi
finish
