//! What user SQL may do, decided while SQLite compiles a statement.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::cost::Touched;

/// Shared by the connection's hooks and the thread that runs statements.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    trusted: AtomicBool,
    settings_changed: AtomicBool,
    refusal: Mutex<Option<String>>,
    touched: Mutex<Touched>,
}

/// Pragmas that only read, whatever their argument.
const READING_PRAGMAS: [&str; 16] = [
    "collation_list",
    "compile_options",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "module_list",
    "page_count",
    "pragma_list",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// Pragmas that change how the connection behaves; [`RESET`] undoes them after the call, for the connection is shared.
const SETTING_PRAGMAS: [&str; 5] = [
    "case_sensitive_like",
    "ignore_check_constraints",
    "legacy_alter_table",
    "recursive_triggers",
    "reverse_unordered_selects",
];

/// Pragmas that are safe with an argument: one ends with the transaction, `foreign_keys` does nothing inside one, and
/// `optimize` writes statistics.
const OTHER_PRAGMAS: [&str; 3] = ["defer_foreign_keys", "foreign_keys", "optimize"];

/// Restores every pragma of [`SETTING_PRAGMAS`].
pub(crate) const RESET: &str = "PRAGMA case_sensitive_like = 0; PRAGMA ignore_check_constraints = 0; \
    PRAGMA legacy_alter_table = 0; PRAGMA recursive_triggers = 0; PRAGMA reverse_unordered_selects = 0;";

impl Policy {
    /// Runs `work` with everything allowed: for statements of ours.
    pub(crate) fn trusted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.trusted.store(true, Ordering::Relaxed);
        let result = work();
        self.trusted.store(false, Ordering::Relaxed);
        result
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Why the last statement was refused, once.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What the statements compiled since the last question touch.
    pub(crate) fn take_touched(&self) -> Touched {
        std::mem::take(&mut self.touched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a statement changed the connection's behaviour since the last question.
    pub(crate) fn take_settings_changed(&self) -> bool {
        self.settings_changed.swap(false, Ordering::Relaxed)
    }

    /// The hook for [`rusqlite::Connection::authorizer`].
    pub(crate) fn hook(
        self: Arc<Self>,
    ) -> impl for<'r> FnMut(AuthContext<'r>) -> Authorization + Send + 'static {
        move |context| {
            if self.is_trusted() {
                return Authorization::Allow;
            }
            self.touched
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .note(&context.action);
            match self.check(context.action) {
                Ok(()) => Authorization::Allow,
                Err(reason) => {
                    *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
                    Authorization::Deny
                }
            }
        }
    }

    fn check(&self, action: AuthAction<'_>) -> Result<(), String> {
        match action {
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Err(
                "not authorized: BEGIN, COMMIT, ROLLBACK and SAVEPOINT are not available; batch() is one transaction"
                    .to_owned(),
            ),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
                Err("not authorized: ATTACH, DETACH and VACUUM are not available".to_owned())
            }
            AuthAction::Function { function_name } if function_name.eq_ignore_ascii_case("load_extension") => {
                Err("not authorized to use function: load_extension".to_owned())
            }
            AuthAction::CreateTempIndex { .. }
            | AuthAction::CreateTempTable { .. }
            | AuthAction::CreateTempTrigger { .. }
            | AuthAction::CreateTempView { .. } => {
                Err("not authorized: temporary tables, views, indexes and triggers are not available".to_owned())
            }
            AuthAction::CreateVtable { module_name, .. }
                if !module_name.eq_ignore_ascii_case("fts5") && !module_name.eq_ignore_ascii_case("fts5vocab") =>
            {
                Err(format!("not authorized: no virtual tables of module {module_name}"))
            }
            AuthAction::Pragma { pragma_name, pragma_value } => self.check_pragma(pragma_name, pragma_value),
            AuthAction::Unknown { code, .. } => Err(format!("not authorized: unknown action {code}")),
            _ => Ok(()),
        }
    }

    fn check_pragma(&self, name: &str, value: Option<&str>) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        let name = name.as_str();
        if SETTING_PRAGMAS.contains(&name) {
            if value.is_some() {
                self.settings_changed.store(true, Ordering::Relaxed);
            }
            return Ok(());
        }
        if READING_PRAGMAS.contains(&name) && (name != "page_count" || value.is_none())
            || OTHER_PRAGMAS.contains(&name)
            // FTS5 asks for it while it opens a table.
            || name == "data_version" && value.is_none()
        {
            return Ok(());
        }
        Err(format!("not authorized: PRAGMA {name} is not available"))
    }
}
