;; Calls what stands in no table.
;;; inner
(table $few 2 funcref)
(type $none (func))
;;; process
(call_indirect $few (type $none) (i32.const 7))
