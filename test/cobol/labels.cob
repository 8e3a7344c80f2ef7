       IDENTIFICATION DIVISION.
       PROGRAM-ID. LABELS.
      * Writes lines of text, and prints what it wrote.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT OUT-FILE ASSIGN TO OUT-NAME
               ORGANIZATION IS LINE SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  OUT-FILE.
       01  OUT-LINE                PIC X(32).
       WORKING-STORAGE SECTION.
       01  LABEL-LINE.
           05  LABEL-ID            PIC 9(4).
           05  LABEL-TEXT          PIC X(12).
           05  LABEL-PRICE         PIC S9(3)V99 SIGN LEADING SEPARATE.
           05  LABEL-REMARK        PIC X(10).
       01  OUT-NAME                PIC X(200).
       01  I                       PIC S9(9) COMP-5.
       01  WIDE                    PIC -(8)9.99.
       01  WHOLE                   PIC -(8)9.
       PROCEDURE DIVISION.
       MAIN-PARAGRAPH.
           ACCEPT OUT-NAME FROM ENVIRONMENT "OUT_NAME".
           OPEN OUTPUT OUT-FILE.
           PERFORM VARYING I FROM 1 BY 1 UNTIL I > 20
               MOVE I TO LABEL-ID
               MOVE "label text" TO LABEL-TEXT
               COMPUTE LABEL-PRICE = 5.25 - I
               MOVE SPACES TO LABEL-REMARK
               IF FUNCTION MOD(I 4) = 0
                   MOVE "remark" TO LABEL-REMARK
               END-IF
               MOVE LABEL-LINE TO OUT-LINE
               WRITE OUT-LINE
               MOVE I TO WHOLE
               MOVE LABEL-PRICE TO WIDE
               DISPLAY FUNCTION TRIM(WHOLE) "|label text|"
                   FUNCTION TRIM(WIDE) "|"
                   FUNCTION TRIM(LABEL-REMARK)
           END-PERFORM.
           CLOSE OUT-FILE.
           STOP RUN.
