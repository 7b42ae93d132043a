;; Says that its answer lies where no memory is.
;;; process
(if (i32.const 1) (then (return (i32.const -8))))
