;; Never answers where the host shall put the batch.
;;; realloc
(loop $for-ever (br $for-ever))
