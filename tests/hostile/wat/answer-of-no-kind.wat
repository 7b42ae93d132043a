;; Answers neither well nor badly, but with the seventh of two cases.
;;; process
(i32.store8 (i32.const 256) (i32.const 7))
