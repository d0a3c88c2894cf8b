(function_item name: (_) @name) @definition.function
(function_signature_item name: (_) @name) @definition.function
(struct_item name: (_) @name) @definition.struct
(union_item name: (_) @name) @definition.struct
(enum_item name: (_) @name) @definition.enum
(trait_item name: (_) @name) @definition.interface
(type_item name: (_) @name) @definition.type
(associated_type name: (_) @name) @definition.type
(const_item name: (_) @name) @definition.variable
(static_item name: (_) @name) @definition.variable
(macro_definition name: (_) @name) @definition.macro
(field_declaration name: (_) @name) @definition.field
(enum_variant name: (_) @name) @definition.field
(mod_item name: (_) @name body: (_)) @scope.namespace
(impl_item
  type: [
    (type_identifier) @name
    (scoped_type_identifier name: (_) @name)
    (generic_type type: (type_identifier) @name)
    (generic_type type: (scoped_type_identifier name: (_) @name))
  ]) @scope.class

(attribute_item) @leading
(line_comment) @leading
(block_comment) @leading

; Imports: the leaves of a use tree; the paths of the lists around a leaf stand before its own.
((use_declaration argument: (identifier) @import.module) (#set! bind "last"))
(use_declaration argument: (scoped_identifier path: (_)? @import.module name: (_) @import.symbol))
((use_list (identifier) @import.symbol) (#set! outer "scoped_use_list"))
((use_list (self) @import.self) (#set! outer "scoped_use_list") (#set! bind "last"))
((use_list (scoped_identifier path: (_)? @import.module name: (_) @import.symbol))
  (#set! outer "scoped_use_list"))
((use_as_clause
  path: (scoped_identifier path: (_)? @import.module name: (_) @import.symbol)
  alias: (_) @import.alias) (#set! outer "scoped_use_list"))
((use_as_clause path: (identifier) @import.symbol alias: (_) @import.alias)
  (#set! outer "scoped_use_list"))
((use_as_clause path: (self) @import.self alias: (_) @import.alias) (#set! outer "scoped_use_list"))
((use_wildcard (_) @import.module) (#set! outer "scoped_use_list") (#set! bind "all"))
((extern_crate_declaration name: (_) @import.module !alias) (#set! bind "last"))
(extern_crate_declaration name: (_) @import.module alias: (_) @import.alias)

[(identifier) (type_identifier) (field_identifier) (shorthand_field_identifier)] @identifier
