;; Copies more than there is.
;;; process
(memory.copy (i32.const 0) (i32.const 1024) (i32.const -2048))
