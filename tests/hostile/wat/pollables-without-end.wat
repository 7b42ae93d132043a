;; Asks to be woken, again and again, and never gives back what it could wait for.
;;; first
(import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type $pollable (sub resource)))))
(alias export $poll "pollable" (type $pollable))
(import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $q (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))
(alias export $clock "subscribe-duration" (func $subscribe))
(core func $subscribe (canon lower (func $subscribe)))
;;; outer
(core instance $host (export "subscribe" (func $subscribe)))
;;; inner
(import "host" "subscribe" (func $subscribe (param i64) (result i32)))
;;; process
(loop $for-ever (drop (call $subscribe (i64.const 1000000000))) (br $for-ever))
