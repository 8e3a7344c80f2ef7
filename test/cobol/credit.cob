       IDENTIFICATION DIVISION.
       PROGRAM-ID. CREDIT.
      * Writes the extract of credit accounts, to the file OUT_NAME, of
      * lines of the file LINES_NAME: customer, branch, limit, balance
      * and rating, divided by blanks; amounts are in cents.
       ENVIRONMENT DIVISION.
       INPUT-OUTPUT SECTION.
       FILE-CONTROL.
           SELECT LINES-FILE ASSIGN TO DYNAMIC LINES-NAME
               ORGANIZATION IS LINE SEQUENTIAL.
           SELECT OUT-FILE ASSIGN TO DYNAMIC OUT-NAME
               ORGANIZATION IS SEQUENTIAL.
       DATA DIVISION.
       FILE SECTION.
       FD  LINES-FILE.
       01  LINE-RECORD                 PIC X(80).
       FD  OUT-FILE.
       COPY "credit.cpy".
       WORKING-STORAGE SECTION.
       01  LINES-NAME                  PIC X(255).
       01  OUT-NAME                PIC X(255).
       01  AT-END                      PIC X VALUE "N".
       01  FIELDS.
           05  FIELD-CUSTOMER          PIC X(6).
           05  FIELD-BRANCH            PIC X(4).
           05  FIELD-LIMIT             PIC X(12).
           05  FIELD-BALANCE           PIC X(12).
           05  FIELD-RATING            PIC X.
       PROCEDURE DIVISION.
       MAIN.
           ACCEPT LINES-NAME FROM ENVIRONMENT "LINES_NAME".
           ACCEPT OUT-NAME FROM ENVIRONMENT "OUT_NAME".
           OPEN INPUT LINES-FILE OUTPUT OUT-FILE.
           PERFORM NEXT-LINE UNTIL AT-END = "Y".
           CLOSE LINES-FILE OUT-FILE.
           STOP RUN.
       NEXT-LINE.
           READ LINES-FILE
               AT END MOVE "Y" TO AT-END
               NOT AT END PERFORM WRITE-RECORD
           END-READ.
       WRITE-RECORD.
           UNSTRING LINE-RECORD DELIMITED BY ALL SPACE
               INTO FIELD-CUSTOMER FIELD-BRANCH FIELD-LIMIT
                   FIELD-BALANCE FIELD-RATING.
           MOVE FUNCTION NUMVAL(FIELD-CUSTOMER) TO CUSTOMER-ID.
           MOVE FIELD-BRANCH TO BRANCH.
           COMPUTE CREDIT-LIMIT = FUNCTION NUMVAL(FIELD-LIMIT) / 100.
           COMPUTE BALANCE = FUNCTION NUMVAL(FIELD-BALANCE) / 100.
           MOVE FIELD-RATING TO RATING.
           WRITE CREDIT-RECORD.
