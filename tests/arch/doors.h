/* Calls of a variadic function with 0 to 20 arguments, as a compiler lays them out. */
#ifndef DOORS_H
#define DOORS_H

enum { MOST = 20 };

#define A0
#define A1 A0 "a0",
#define A2 A1 "a1",
#define A3 A2 "a2",
#define A4 A3 "a3",
#define A5 A4 "a4",
#define A6 A5 "a5",
#define A7 A6 "a6",
#define A8 A7 "a7",
#define A9 A8 "a8",
#define A10 A9 "a9",
#define A11 A10 "a10",
#define A12 A11 "a11",
#define A13 A12 "a12",
#define A14 A13 "a13",
#define A15 A14 "a14",
#define A16 A15 "a15",
#define A17 A16 "a16",
#define A18 A17 "a17",
#define A19 A18 "a18",
#define A20 A19 "a19",

/* In a switch over the number of arguments: CALL(n, the arguments with a comma behind each). */
#define EACH_COUNT(CALL) \
	CALL(0, A0) CALL(1, A1) CALL(2, A2) CALL(3, A3) CALL(4, A4) CALL(5, A5) CALL(6, A6) \
	CALL(7, A7) CALL(8, A8) CALL(9, A9) CALL(10, A10) CALL(11, A11) CALL(12, A12) \
	CALL(13, A13) CALL(14, A14) CALL(15, A15) CALL(16, A16) CALL(17, A17) CALL(18, A18) \
	CALL(19, A19) CALL(20, A20)

#endif
