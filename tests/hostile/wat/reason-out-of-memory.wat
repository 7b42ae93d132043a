;; Fails for a reason that begins within its memory and ends beyond.
;;; process
(i32.store8 (i32.const 256) (i32.const 1))
(i32.store8 (i32.const 260) (i32.const 1))
(i32.store (i32.const 264) (i32.const 131000))
(i32.store (i32.const 268) (i32.const 100000))
