;; Fails for a reason that is no text.
;;; process
(i32.store8 (i32.const 256) (i32.const 1))
(i32.store8 (i32.const 260) (i32.const 1))
(i32.store (i32.const 264) (i32.const 512))
(i32.store (i32.const 268) (i32.const 2))
(i32.store16 (i32.const 512) (i32.const 0xfffe))
