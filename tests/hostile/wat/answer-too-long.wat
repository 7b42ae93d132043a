;; Rejects four thousand million records, in a list that would not fit its memory.
;;; process
(i32.store (i32.const 260) (i32.const 4096))
(i32.store (i32.const 264) (i32.const -1))
