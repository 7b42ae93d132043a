;; Takes some hundred million steps to say what it is: too long for some, not for ever, since nobody could wait for that without the limit.
;;; describe
(local $left i64)
(local.set $left (i64.const 600000000))
(loop $again (br_if $again (i64.ne (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0))))
