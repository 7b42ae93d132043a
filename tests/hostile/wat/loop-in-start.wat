;; As long, before anybody has called anything: while it is instantiated.
;;; inner
(func $start (local $left i64)
    (local.set $left (i64.const 600000000))
    (loop $again (br_if $again (i64.ne (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0)))))
(start $start)
