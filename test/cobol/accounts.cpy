000100*****************************************************************
000200* A record of accounts: every kind of item that a file can have.
000300*****************************************************************
000400 01  ACCOUNT-RECORD.
000500     05  ACCOUNT-ID              PIC 9(8).                        ACC00010
000600     05  ACCOUNT-NAME            PIC X(20).
000700     05  STATUS-CODE             PIC X.
000800         88  IS-ACTIVE           VALUE 'A'.
000900         88  IS-CLOSED           VALUES 'C' 'D' THRU 'F'.
001000     05  FILLER                  PIC X(3).
001100     05  FIGURES.
001200         10  PACKED-AMOUNT       PIC S9(7)V99 COMP-3.
001300         10  PACKED-COUNT        PIC 9(4) COMP-3.
001400         10  PACKED-LONG         PIC S9(18)V9(2) PACKED-DECIMAL.
001500         10  BINARY-SMALL        PIC S9(4) COMP.
001600         10  BINARY-MIDDLE       PIC S9(9) BINARY.
001700         10  BINARY-LARGE        PIC S9(18) COMP.
001800         10  BINARY-POINT        PIC S9(5)V99 COMP.
001900         10  BINARY-UNSIGNED     PIC 9(9) COMP.
002000         10  NATIVE-SMALL        PIC S9(4) COMP-5.
002100         10  NATIVE-LARGE        PIC 9(18) COMP-5.
002200         10  ZONED-SIGNED        PIC S9(5)V99.
002300         10  ZONED-LEADING       PIC S9(5) SIGN IS LEADING.
002400         10  ZONED-SEPARATE      PIC S9(5) SIGN TRAILING SEPARATE.
002500         10  ZONED-BOTH          PIC S9(5)
002600                                 SIGN LEADING SEPARATE CHARACTER.
002700         10  ZONED-LONG          PIC S9(20).
002800         10  SCALED-UP           PIC 9(3)PPP.
002900         10  SCALED-DOWN         PIC VPP9(3).
003000         10  BLANK-ZERO          PIC 9(5) BLANK WHEN ZERO.
003100         10  SINGLE-FLOAT        COMP-1.
003200         10  DOUBLE-FLOAT        COMP-2.
003300     05  EDITED                  PIC -ZZ,ZZ9.99.
003400     05  RIGHT-TEXT              PIC X(8) JUSTIFIED RIGHT.
003500     05  PLACED. 
003600         10  ALIGN-BYTE          PIC X.
003700         10  ALIGN-SMALL         PIC S9(4) COMP SYNC.
003800         10  ALIGN-BYTE-2        PIC X.
003900         10  ALIGN-MIDDLE        PIC S9(9) COMP SYNCHRONIZED.
004000         10  ALIGN-TABLE OCCURS 3 TIMES.
004100             15  ALIGN-FLAG      PIC X.
004200             15  ALIGN-NUMBER    PIC S9(9) COMP SYNC.
004300     05  MONTHS OCCURS 4 TIMES   PIC S9(3)V9 COMP-3.
