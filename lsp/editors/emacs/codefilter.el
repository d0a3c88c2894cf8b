;;; codefilter.el --- Code completion that knows the repository  -*- lexical-binding: t; -*-

;; Version: 0.1.0
;; Package-Requires: ((emacs "29.1"))

;;; Commentary:

;; With lsp-mode, CodeFilter runs beside the language's own server, and shows ghost text where lsp-mode has
;; `lsp-inline-completion-mode'.  With Eglot, which runs one server in a buffer, it stands alone.

;;; Code:

(defgroup codefilter nil
  "Code completion that knows the repository."
  :group 'tools)

(defcustom codefilter-command '("codefilter-lsp")
  "The server and its arguments."
  :type '(repeat string))

(defcustom codefilter-options '(:blockLines 12 :latencyBudgetMs 1500)
  "Options of the server, as a property list."
  :type 'plist)

(defcustom codefilter-accept-key "TAB"
  "The key that takes ghost text while it is shown; nil: only lsp-mode's own."
  :type '(choice key (const nil)))

(require 'subr-x)
(require 'url-util)

(declare-function lsp-register-client "lsp-mode")
(declare-function make-lsp-client "lsp-mode")
(declare-function lsp-stdio-connection "lsp-mode")
(declare-function lsp-request "lsp-mode")
(declare-function lsp-find-workspace "lsp-mode")
(declare-function lsp-notify "lsp-mode")
(declare-function lsp--text-document-position-params "lsp-mode")
(declare-function jsonrpc-request "jsonrpc")
(declare-function jsonrpc-notify "jsonrpc")
(declare-function eglot-current-server "eglot")
(declare-function eglot--server-info "eglot")
(declare-function eglot--TextDocumentPositionParams "eglot")
(declare-function lsp-inline-completion-accept "lsp-inline-completion")
(defvar eglot-server-programs)
(defvar lsp--cur-workspace)
(defvar lsp-inline-completion-active-map)
(defvar lsp-inline-completion-idle-delay)
(defvar lsp-response-timeout)

(with-eval-after-load 'lsp-mode
  (lsp-register-client
   (make-lsp-client
    :new-connection (lsp-stdio-connection (lambda () codefilter-command))
    :activation-fn (lambda (&rest _) (derived-mode-p 'prog-mode 'text-mode))
    :initialization-options (lambda () codefilter-options)
    :priority -1
    :add-on? t
    :server-id 'codefilter)))

(with-eval-after-load 'lsp-inline-completion
  (when codefilter-accept-key
    (define-key lsp-inline-completion-active-map (kbd codefilter-accept-key) #'lsp-inline-completion-accept))
  (when (eql lsp-inline-completion-idle-delay 2) ; lsp-mode's default; the server waits for the next key itself
    (setq lsp-inline-completion-idle-delay 0.1)))

;;;###autoload
(defun codefilter-eglot-alone (&rest modes)
  "Let Eglot run CodeFilter, and nothing else, in MODES."
  (with-eval-after-load 'eglot
    (add-to-list 'eglot-server-programs
                 `(,modes . (,@codefilter-command :initializationOptions ,codefilter-options)))))

(defvar codefilter--timeout nil
  "Seconds to wait for the server's answer; nil: as long as the client does.")

(defun codefilter--run (command &rest arguments)
  "Let the server run COMMAND with ARGUMENTS, and return what it says."
  (let ((call (list :command (concat "codefilter." command) :arguments (vconcat arguments))))
    (if (bound-and-true-p lsp-mode)
        (let ((lsp-response-timeout (or codefilter--timeout lsp-response-timeout)))
          (lsp-request "workspace/executeCommand" call))
      (jsonrpc-request (eglot-current-server) :workspace/executeCommand call :timeout codefilter--timeout))))

(defun codefilter--get (object key)
  "The value of KEY in OBJECT, which is a property list or a hash table."
  (if (hash-table-p object) (gethash (substring (symbol-name key) 1) object) (plist-get object key)))

;;;###autoload
(defun codefilter-explain ()
  "Show what the last completion was made from."
  (interactive)
  (let* ((said (codefilter--run "explain"))
         (page (and said (codefilter--get said :page))))
    (when (and page (not (eq t (codefilter--get said :is_shown)))) ; a client that cannot open documents
      (find-file (url-unhex-string (string-remove-prefix "file://" page))))))

;;;###autoload
(defun codefilter-measure ()
  "Measure what each chunk did for the last completion, and show it."
  (interactive)
  (message "Measuring what each chunk did for the last completion...")
  (let ((codefilter--timeout 600)) ; the model reads the prompt once for every chunk
    (codefilter--run "attribute" '(:show :json-false)))
  (codefilter-explain))

;;;###autoload
(defun codefilter-snooze (minutes)
  "Show nothing for MINUTES."
  (interactive "p")
  (codefilter--run "snooze" minutes))

;;;###autoload
(defun codefilter-status ()
  "Say what goes on, and why nothing is shown."
  (interactive)
  (message "%S" (codefilter--run "status")))

(defun codefilter--rested ()
  "Tell the server where the cursor rests, so that the model reads the place before a key is pressed."
  (cond
   ((and (bound-and-true-p lsp-mode) buffer-file-name)
    (let ((lsp--cur-workspace (lsp-find-workspace 'codefilter buffer-file-name)))
      (when lsp--cur-workspace
        (lsp-notify "codefilter/didRest" (lsp--text-document-position-params)))))
   ((bound-and-true-p eglot--managed-mode)
    (let ((server (eglot-current-server)))
      (when (and server (equal "codefilter-lsp" (plist-get (eglot--server-info server) :name)))
        (jsonrpc-notify server :codefilter/didRest (eglot--TextDocumentPositionParams)))))))

(defvar codefilter--rest-timer (run-with-idle-timer 0.5 t #'codefilter--rested)
  "Once after every key or move.")

(provide 'codefilter)
;;; codefilter.el ends here
