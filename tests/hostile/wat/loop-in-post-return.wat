;; Answers, and never comes back from the call that lets it clean up after its answer.
;;; after
(loop $for-ever (br $for-ever))
