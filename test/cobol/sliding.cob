       IDENTIFICATION DIVISION.
       PROGRAM-ID. SLIDING.
      * Prints records in which what follows a table moves up when the
      * table is shorter (cobc -fodoslide -fcomplex-odo).
       DATA DIVISION.
       WORKING-STORAGE SECTION.
       01  SLIDING-RECORD.
           05 FIRST-COUNT  PIC 9.
           05 LAST-COUNT   PIC 9.
           05 FIRST-TABLE  OCCURS 0 TO 5 TIMES
               DEPENDING ON FIRST-COUNT PIC X(2).
           05 MIDDLE       PIC X(3).
           05 LAST-TABLE   OCCURS 1 TO 4 TIMES
               DEPENDING ON LAST-COUNT.
               10 LAST-ONE PIC 9.
               10 LAST-TWO PIC X.
           05 BEHIND       PIC X(2).
       01  I               PIC S9(9) COMP-5.
       01  J               PIC S9(9) COMP-5.
       PROCEDURE DIVISION.
       MAIN-PARAGRAPH.
           PERFORM VARYING I FROM 0 BY 1 UNTIL I > 5
               MOVE I TO FIRST-COUNT
               COMPUTE LAST-COUNT = FUNCTION MOD(I 4) + 1
               PERFORM VARYING J FROM 1 BY 1 UNTIL J > FIRST-COUNT
                   MOVE "ab" TO FIRST-TABLE(J)
               END-PERFORM
               MOVE "mid" TO MIDDLE
               PERFORM VARYING J FROM 1 BY 1 UNTIL J > LAST-COUNT
                   MOVE J TO LAST-ONE(J)
                   MOVE "x" TO LAST-TWO(J)
               END-PERFORM
               MOVE "ZZ" TO BEHIND
               DISPLAY SLIDING-RECORD
           END-PERFORM.
           STOP RUN.
