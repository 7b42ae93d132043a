;; Never comes back from a call.
;;; process
(loop $for-ever (br $for-ever))
