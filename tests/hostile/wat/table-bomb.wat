;; Makes a table grow by ten thousand entries at a time, a thousand times.
;;; inner
(table $hoard 1 funcref)
;;; process
(local $left i32)
(local.set $left (i32.const 1000))
(loop $again
    (if (i32.lt_s (table.grow $hoard (ref.null func) (i32.const 10000)) (i32.const 0)) (then unreachable))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
