       IDENTIFICATION DIVISION.
       PROGRAM-ID. ORDERS.
      * Writes orders and payments as records of variable length, and
      * prints what it wrote.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT OUT-FILE ASSIGN TO OUT-NAME
               ORGANIZATION IS SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  OUT-FILE RECORD IS VARYING IN SIZE FROM 12 TO 202 CHARACTERS
               DEPENDING ON OUT-LENGTH.
       COPY "orders.cpy".
       WORKING-STORAGE SECTION.
       01  OUT-NAME                PIC X(200).
       01  OUT-LENGTH              PIC 9(4) COMP-5.
       01  HOW-MANY-TEXT           PIC X(10).
       01  HOW-MANY                PIC 9(9).
       01  I                       PIC S9(9) COMP-5.
       01  J                       PIC S9(9) COMP-5.
       01  ONE-DIGIT               PIC 9.
       01  WIDE                    PIC -(8)9.99.
       01  WHOLE                   PIC -(8)9.
       PROCEDURE DIVISION.
       MAIN-PARAGRAPH.
           ACCEPT OUT-NAME FROM ENVIRONMENT "OUT_NAME".
           ACCEPT HOW-MANY-TEXT FROM ENVIRONMENT "HOW_MANY".
           MOVE FUNCTION NUMVAL(HOW-MANY-TEXT) TO HOW-MANY.
           OPEN OUTPUT OUT-FILE.
           PERFORM VARYING I FROM 1 BY 1 UNTIL I > HOW-MANY
               PERFORM WRITE-ORDER
               IF FUNCTION MOD(I 3) = 0
                   PERFORM WRITE-PAYMENT
               END-IF
           END-PERFORM.
           CLOSE OUT-FILE.
           STOP RUN.
       WRITE-ORDER.
           MOVE SPACES TO ORDER-RECORD.
           MOVE "O" TO RECORD-KIND OF ORDER-RECORD.
           MOVE I TO ORDER-ID OF ORDER-RECORD.
           MOVE "Ann" TO CUSTOMER.
           COMPUTE DELIVERY-KIND = FUNCTION MOD(I 2).
           IF DELIVERY-KIND = 1
               MOVE I TO SHOP
               MOVE "shelf" TO SHELF
           ELSE
               MOVE "home" TO DELIVERY
           END-IF.
           COMPUTE LINE-COUNT = FUNCTION MOD(I 10).
           PERFORM VARYING J FROM 1 BY 1 UNTIL J > LINE-COUNT
               MOVE J TO ONE-DIGIT
               MOVE "art" TO ARTICLE(J)
               MOVE ONE-DIGIT TO ARTICLE(J)(4:1)
               COMPUTE QUANTITY(J) = 0 - I * J
               MOVE "first" TO TEXT-LINE(J 1)
               MOVE "2nd" TO TEXT-LINE(J 2)
           END-PERFORM.
           COMPUTE OUT-LENGTH = 31 + LINE-COUNT * 19.
           WRITE ORDER-RECORD.
           MOVE I TO WHOLE.
           DISPLAY "O|" FUNCTION TRIM(WHOLE) "|Ann|"
               DELIVERY-KIND "|" WITH NO ADVANCING.
           IF DELIVERY-KIND = 1
               MOVE SHOP TO WHOLE
               DISPLAY FUNCTION TRIM(WHOLE) "|shelf|"
                   WITH NO ADVANCING
           ELSE
               DISPLAY "home|" WITH NO ADVANCING
           END-IF.
           MOVE LINE-COUNT TO WHOLE.
           DISPLAY FUNCTION TRIM(WHOLE) "|" WITH NO ADVANCING.
           PERFORM VARYING J FROM 1 BY 1 UNTIL J > LINE-COUNT
               MOVE QUANTITY(J) TO WHOLE
               DISPLAY FUNCTION TRIM(ARTICLE(J)) " "
                   FUNCTION TRIM(WHOLE) " first 2nd,"
                   WITH NO ADVANCING
           END-PERFORM.
           DISPLAY " ".
       WRITE-PAYMENT.
           MOVE "P" TO RECORD-KIND OF PAYMENT-RECORD.
           MOVE I TO ORDER-ID OF PAYMENT-RECORD.
           COMPUTE AMOUNT = 0 - I * 1.05.
           MOVE 12 TO OUT-LENGTH.
           WRITE PAYMENT-RECORD.
           MOVE I TO WHOLE.
           MOVE AMOUNT TO WIDE.
           DISPLAY "P|" FUNCTION TRIM(WHOLE) "|" FUNCTION TRIM(WIDE).
