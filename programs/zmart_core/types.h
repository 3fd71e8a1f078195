/* The fixed-width words of the sBPF target (LP64), shared by every file of the program. */
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;
