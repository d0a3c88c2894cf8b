; What C++ adds.
(class_specifier name: (_) @name body: (_)) @definition.class
(struct_specifier name: (template_type name: (_) @name) body: (_)) @definition.struct
(concept_definition name: (_) @name) @definition.type
(alias_declaration name: (_) @name) @definition.type
(function_definition
  declarator: [
    (function_declarator
      declarator: [(qualified_identifier) (field_identifier) (destructor_name) (operator_name)] @name)
    (pointer_declarator
      declarator: (function_declarator
        declarator: [(qualified_identifier) (field_identifier) (operator_name)] @name))
    (reference_declarator
      (function_declarator
        declarator: [(qualified_identifier) (identifier) (field_identifier) (operator_name)] @name))
  ]) @definition.function
(field_declaration
  declarator: [
    (function_declarator declarator: [(field_identifier) (operator_name)] @name)
    (pointer_declarator declarator: (function_declarator declarator: (field_identifier) @name))
    (reference_declarator (function_declarator declarator: [(field_identifier) (operator_name)] @name))
  ]) @definition.function
(declaration
  declarator: [
    (function_declarator declarator: [(destructor_name) (operator_name)] @name)
    (reference_declarator (function_declarator declarator: (identifier) @name))
  ]) @definition.function
(namespace_definition name: (_) @name) @scope.namespace

(template_declaration "template" @leading parameters: (_) @leading)

((using_declaration
  (qualified_identifier scope: (_) @import.module name: (identifier) @import.symbol)) @_whole
  (#not-match? @_whole "^using\\s+namespace"))
((using_declaration "namespace" (_) @import.module) (#set! bind "all"))

(namespace_identifier) @identifier
