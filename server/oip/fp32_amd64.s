//go:build !purego

#include "textflag.h"

// func plainRun(out *byte, room int, text *byte, i, length int) (filled, next int)
//
// Numbers end at commas, of which a mask is made for 64 bytes at a time. The sixteen bytes before a
// comma are digits and a point, or with more digits than that all digits: the point is moved out, what
// lies before the number is zeroed, and neighbouring digits, pairs and fours are put together.
//
// DI walks over out up to R8; SI is where the number begins, DX its comma; R9 is at the 64 bytes that
// the mask in R10 is of, and R11 behind the last; R12 is the number's length without sign.
TEXT ·plainRun(SB), NOSPLIT, $0-56
	MOVQ out+0(FP), DI
	MOVQ room+8(FP), R8
	ADDQ DI, R8
	MOVQ text+16(FP), SI
	MOVQ length+32(FP), R11
	ADDQ i+24(FP), SI
	ADDQ SI, R11
	MOVQ SI, R9
	VMOVDQU commas<>(SB), Y8
	VMOVDQU zeros<>(SB), X9
	VMOVDQU point<>(SB), X10
	VMOVDQU nine<>(SB), X11
	VMOVDQU tens<>(SB), X12
	VMOVDQU hundreds<>(SB), X13
	VMOVDQU tenThousands<>(SB), X14
	LEAQ tables<>(SB), R13

block:
	LEAQ 64(R9), AX
	CMPQ AX, R11
	JA   done
	VPCMPEQB (R9), Y8, Y0
	VPCMPEQB 32(R9), Y8, Y1
	VPMOVMSKB Y0, R10
	VPMOVMSKB Y1, AX
	SHLQ $32, AX
	ORQ  AX, R10
	JZ   empty

number:
	CMPQ DI, R8
	JAE  done
	TZCNTQ R10, DX
	ADDQ R9, DX
	XORL AX, AX
	CMPB (SI), $0x20
	SETEQ AX
	LEAQ (SI)(AX*1), BX
	XORL CX, CX
	CMPB (BX), $0x2d
	SETEQ CX
	ADDQ CX, BX
	MOVQ DX, R12
	SUBQ BX, R12
	VMOVDQU -16(DX), X0
	VPSUBB X9, X0, X0
	CMPQ R12, $16
	JA   long
	VPAND (R13)(R12*1), X0, X0
	VPCMPEQB X10, X0, X1
	VPMOVMSKB X1, AX
	TESTL AX, AX
	JZ   done
	TZCNTL AX, AX
	MOVQ $15, R15
	SUBQ AX, R15
	JZ   done
	SHLQ $4, AX
	VPSHUFB 32(R13)(AX*1), X0, X0

	// R15 digits are behind the point, so one less than R12-R15 before it: at least one, and more only
	// if the first is not 0.
	SUBQ R15, R12
	CMPQ R12, $2
	JLT  done
	JEQ  digits
	CMPB (BX), $0x30
	JEQ  done

digits:
	VPSUBUSB X11, X0, X1
	VPTEST X1, X1
	JNZ  done
	VPMADDUBSW X12, X0, X0
	VPMADDWD X13, X0, X0
	VPACKUSDW X0, X0, X0
	VPMADDWD X14, X0, X0
	VMOVQ X0, AX
	MOVL AX, BX
	SHRQ $32, AX
	IMULQ $100000000, BX
	ADDQ BX, AX

scale:
	// A quotient that lies next to the middle between two float32 could round the wrong way.
	VXORPS X1, X1, X1
	VCVTSI2SDQ AX, X1, X1
	VDIVSD 288(R13)(R15*8), X1, X1
	VMOVQ X1, AX
	ANDL $0x1fffffff, AX
	SUBL $0x0ffffffe, AX
	CMPL AX, $4
	JBE  done
	VCVTSD2SS X1, X1, X1
	VMOVD X1, AX
	SHLL $31, CX
	ORL  CX, AX
	MOVL AX, (DI)
	ADDQ $4, DI
	LEAQ 1(DX), SI
	BLSRQ R10, R10
	JNZ  number

empty:
	ADDQ $64, R9
	JMP  block

	// One digit, the point, and 15 to 17 digits: those after the point but for the last 16 alone.
long:
	CMPB 1(BX), $0x2e
	JNE  done
	SUBQ $2, R12
	CMPQ R12, $17
	JA   done
	MOVQ R12, R15
	MOVBLZX (BX), R14
	SUBL $0x30, R14
	CMPL R14, $9
	JA   done
	CMPQ R12, $16
	JBE  last16
	MOVBLZX 2(BX), AX
	SUBL $0x30, AX
	CMPL AX, $9
	JA   done
	LEAQ (R14)(R14*4), R14
	LEAQ (AX)(R14*2), R14
	MOVQ $16, R12

last16:
	VPAND (R13)(R12*1), X0, X0
	VPSUBUSB X11, X0, X1
	VPTEST X1, X1
	JNZ  done
	VPMADDUBSW X12, X0, X0
	VPMADDWD X13, X0, X0
	VPACKUSDW X0, X0, X0
	VPMADDWD X14, X0, X0
	VMOVQ X0, AX
	MOVL AX, BX
	SHRQ $32, AX
	IMULQ $100000000, BX
	ADDQ BX, AX
	IMULQ 432(R13)(R12*8), R14
	ADDQ R14, AX
	JMP  scale

done:
	SUBQ out+0(FP), DI
	MOVQ DI, filled+40(FP)
	SUBQ text+16(FP), SI
	MOVQ SI, next+48(FP)
	VZEROUPPER
	RET

DATA commas<>+0(SB)/8, $0x2c2c2c2c2c2c2c2c
DATA commas<>+8(SB)/8, $0x2c2c2c2c2c2c2c2c
DATA commas<>+16(SB)/8, $0x2c2c2c2c2c2c2c2c
DATA commas<>+24(SB)/8, $0x2c2c2c2c2c2c2c2c
GLOBL commas<>(SB), RODATA|NOPTR, $32

DATA zeros<>+0(SB)/8, $0x3030303030303030
DATA zeros<>+8(SB)/8, $0x3030303030303030
GLOBL zeros<>(SB), RODATA|NOPTR, $16

DATA point<>+0(SB)/8, $0xfefefefefefefefe
DATA point<>+8(SB)/8, $0xfefefefefefefefe
GLOBL point<>(SB), RODATA|NOPTR, $16

DATA nine<>+0(SB)/8, $0x0909090909090909
DATA nine<>+8(SB)/8, $0x0909090909090909
GLOBL nine<>(SB), RODATA|NOPTR, $16

DATA tens<>+0(SB)/8, $0x010a010a010a010a
DATA tens<>+8(SB)/8, $0x010a010a010a010a
GLOBL tens<>(SB), RODATA|NOPTR, $16

DATA hundreds<>+0(SB)/8, $0x0001006400010064
DATA hundreds<>+8(SB)/8, $0x0001006400010064
GLOBL hundreds<>(SB), RODATA|NOPTR, $16

DATA tenThousands<>+0(SB)/8, $0x0001271000012710
DATA tenThousands<>+8(SB)/8, $0x0001271000012710
GLOBL tenThousands<>(SB), RODATA|NOPTR, $16

// Masks for the last n of 16 bytes, at n.
DATA tables<>+0(SB)/8, $0x0000000000000000
DATA tables<>+8(SB)/8, $0x0000000000000000
DATA tables<>+16(SB)/8, $0xffffffffffffffff
DATA tables<>+24(SB)/8, $0xffffffffffffffff

// Orders of 16 bytes that move those before the n-th to its place, at 32+16n.
DATA tables<>+32(SB)/8, $0x0706050403020180
DATA tables<>+40(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+48(SB)/8, $0x0706050403020080
DATA tables<>+56(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+64(SB)/8, $0x0706050403010080
DATA tables<>+72(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+80(SB)/8, $0x0706050402010080
DATA tables<>+88(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+96(SB)/8, $0x0706050302010080
DATA tables<>+104(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+112(SB)/8, $0x0706040302010080
DATA tables<>+120(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+128(SB)/8, $0x0705040302010080
DATA tables<>+136(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+144(SB)/8, $0x0605040302010080
DATA tables<>+152(SB)/8, $0x0f0e0d0c0b0a0908
DATA tables<>+160(SB)/8, $0x0605040302010080
DATA tables<>+168(SB)/8, $0x0f0e0d0c0b0a0907
DATA tables<>+176(SB)/8, $0x0605040302010080
DATA tables<>+184(SB)/8, $0x0f0e0d0c0b0a0807
DATA tables<>+192(SB)/8, $0x0605040302010080
DATA tables<>+200(SB)/8, $0x0f0e0d0c0b090807
DATA tables<>+208(SB)/8, $0x0605040302010080
DATA tables<>+216(SB)/8, $0x0f0e0d0c0a090807
DATA tables<>+224(SB)/8, $0x0605040302010080
DATA tables<>+232(SB)/8, $0x0f0e0d0b0a090807
DATA tables<>+240(SB)/8, $0x0605040302010080
DATA tables<>+248(SB)/8, $0x0f0e0c0b0a090807
DATA tables<>+256(SB)/8, $0x0605040302010080
DATA tables<>+264(SB)/8, $0x0f0d0c0b0a090807
DATA tables<>+272(SB)/8, $0x0605040302010080
DATA tables<>+280(SB)/8, $0x0e0d0c0b0a090807

// Powers of ten, as float64 at 288 and as integers at 432.
DATA tables<>+288(SB)/8, $0x3ff0000000000000
DATA tables<>+296(SB)/8, $0x4024000000000000
DATA tables<>+304(SB)/8, $0x4059000000000000
DATA tables<>+312(SB)/8, $0x408f400000000000
DATA tables<>+320(SB)/8, $0x40c3880000000000
DATA tables<>+328(SB)/8, $0x40f86a0000000000
DATA tables<>+336(SB)/8, $0x412e848000000000
DATA tables<>+344(SB)/8, $0x416312d000000000
DATA tables<>+352(SB)/8, $0x4197d78400000000
DATA tables<>+360(SB)/8, $0x41cdcd6500000000
DATA tables<>+368(SB)/8, $0x4202a05f20000000
DATA tables<>+376(SB)/8, $0x42374876e8000000
DATA tables<>+384(SB)/8, $0x426d1a94a2000000
DATA tables<>+392(SB)/8, $0x42a2309ce5400000
DATA tables<>+400(SB)/8, $0x42d6bcc41e900000
DATA tables<>+408(SB)/8, $0x430c6bf526340000
DATA tables<>+416(SB)/8, $0x4341c37937e08000
DATA tables<>+424(SB)/8, $0x4376345785d8a000
DATA tables<>+432(SB)/8, $0x0000000000000001
DATA tables<>+440(SB)/8, $0x000000000000000a
DATA tables<>+448(SB)/8, $0x0000000000000064
DATA tables<>+456(SB)/8, $0x00000000000003e8
DATA tables<>+464(SB)/8, $0x0000000000002710
DATA tables<>+472(SB)/8, $0x00000000000186a0
DATA tables<>+480(SB)/8, $0x00000000000f4240
DATA tables<>+488(SB)/8, $0x0000000000989680
DATA tables<>+496(SB)/8, $0x0000000005f5e100
DATA tables<>+504(SB)/8, $0x000000003b9aca00
DATA tables<>+512(SB)/8, $0x00000002540be400
DATA tables<>+520(SB)/8, $0x000000174876e800
DATA tables<>+528(SB)/8, $0x000000e8d4a51000
DATA tables<>+536(SB)/8, $0x000009184e72a000
DATA tables<>+544(SB)/8, $0x00005af3107a4000
DATA tables<>+552(SB)/8, $0x00038d7ea4c68000
DATA tables<>+560(SB)/8, $0x002386f26fc10000
GLOBL tables<>(SB), RODATA|NOPTR, $568
