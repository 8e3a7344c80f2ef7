      * Two kinds of records: an order with its lines, and a payment.
       01  ORDER-RECORD.
           05  RECORD-KIND             PIC X.
               88  IS-ORDER            VALUE "O".
               88  IS-PAYMENT          VALUE "P".
           05  ORDER-ID                PIC 9(6).
           05  CUSTOMER                PIC X(10).
           05  DELIVERY-KIND           PIC 9.
           05  DELIVERY                PIC X(12).
           05  PICK-UP REDEFINES DELIVERY.
               10  SHOP                PIC 9(4).
               10  SHELF               PIC X(8).
           05  LINE-COUNT              PIC 99 COMP.
           05  ORDER-LINES OCCURS 0 TO 9 TIMES
                   DEPENDING ON LINE-COUNT.
               10  ARTICLE             PIC X(6).
               10  QUANTITY            PIC S9(5) COMP-3.
               10  TEXTS.
                   15  TEXT-LINE OCCURS 2 TIMES PIC X(5).
       01  PAYMENT-RECORD.
           05  RECORD-KIND             PIC X.
           05  ORDER-ID                PIC 9(6).
           05  AMOUNT                  PIC S9(7)V99 COMP-3.
