;; Lets the host put the batch where no number may lie.
;;; realloc
(if (i32.const 1) (then (return (i32.const 65537))))
