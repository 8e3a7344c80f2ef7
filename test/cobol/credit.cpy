      * A credit account, as the mainframe's nightly extract has it.
       01  CREDIT-RECORD.
           05  CUSTOMER-ID             PIC 9(6).
           05  BRANCH                  PIC X(4).
           05  CREDIT-LIMIT            PIC S9(7)V99 COMP-3.
           05  BALANCE                 PIC S9(7)V99.
           05  RATING                  PIC X.
