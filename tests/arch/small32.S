/* A 32-bit program without libc, so that no 32-bit libc is needed to build it: exit(5). */
	.globl _start
_start:
	movl $1, %eax
	movl $5, %ebx
	int $0x80
	.section .note.GNU-stack, "", @progbits
