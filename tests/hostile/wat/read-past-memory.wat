;; Reads where no memory is.
;;; process
(drop (i32.load (i32.const -4)))
