; Definitions. What a query captures, and under which names: see __init__.py.
(class_definition name: (identifier) @name) @definition.class
(function_definition name: (identifier) @name) @definition.function
(type_alias_statement left: (type (identifier) @name)) @definition.type
(type_alias_statement left: (type (generic_type (identifier) @name))) @definition.type
(module (expression_statement (assignment left: (identifier) @name)) @definition.variable)
(class_definition
  body: (block (expression_statement (assignment left: (identifier) @name)) @definition.field))

(decorator) @leading
(comment) @leading

; Imports. `from __future__ import` brings no name in.
((import_statement name: (dotted_name) @import.module) (#set! bind "first"))
(import_statement
  name: (aliased_import name: (dotted_name) @import.module alias: (identifier) @import.alias))
(import_from_statement module_name: (_) @import.module name: (dotted_name) @import.symbol)
(import_from_statement
  module_name: (_) @import.module
  name: (aliased_import name: (dotted_name) @import.symbol alias: (identifier) @import.alias))
((import_from_statement module_name: (_) @import.module (wildcard_import)) (#set! bind "all"))

(identifier) @identifier
