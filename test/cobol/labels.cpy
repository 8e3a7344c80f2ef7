*> Lines of text: what line-sequential files have.
01 LABEL-LINE.
  05 LABEL-ID       PIC 9(4).
  05 LABEL-TEXT     PIC X(12).
  05 LABEL-PRICE    PIC S9(3)V99 SIGN LEADING SEPARATE.
  05 LABEL-REMARK   PIC X(10).
