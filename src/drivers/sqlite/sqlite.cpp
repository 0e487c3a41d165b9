#include "drivers/sqlite/sqlite.hpp"

#include <sqlite3.h>

#include <algorithm>
#include <random>
#include <thread>

namespace tidemill::sqlite {

namespace {

/// SQLite's text for an extended code is that of its primary code, which says too little about input and
/// output.
std::string explain(sqlite3* db, int code) {
  std::string message = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(code);
  if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN) {
    message += " (code " + std::to_string(code) + ")";
  }
  return message;
}

}  // namespace

Query::~Query() {
  if (statement_ != nullptr) sqlite3_reset(statement_);
}

bool Query::step() {
  if (statement_ == nullptr) return row_ < rows_.size() && ++row_ > 0;
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* const db = sqlite3_db_handle(statement_);
  throw Failure{sqlite3_extended_errcode(db), explain(db, sqlite3_extended_errcode(db))};
}

bool Query::null(int column) const {
  if (statement_ == nullptr) return !value(column);
  return sqlite3_column_type(statement_, column) == SQLITE_NULL;
}

bool Query::is_blob(int column) const {
  if (statement_ == nullptr) return value(column) && value(column)->is_blob;
  return sqlite3_column_type(statement_, column) == SQLITE_BLOB;
}

std::int64_t Query::integer(int column) const {
  if (statement_ == nullptr) return value(column) ? std::atoll(value(column)->bytes.c_str()) : 0;
  return sqlite3_column_int64(statement_, column);
}

std::optional<std::int64_t> Query::optional_integer(int column) const {
  if (null(column)) return {};
  return integer(column);
}

std::string_view Query::bytes(int column) const {
  if (statement_ == nullptr)
    return value(column) ? std::string_view{value(column)->bytes} : std::string_view{};
  const void* const data = sqlite3_column_blob(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_, column))};
}

Connection::Connection(const std::string& path, const ConnectionOptions& options)
    : schema_("main"), busy_timeout_(options.busy_timeout) {
  const int access = options.read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
  const int flags =
      access | (options.create ? SQLITE_OPEN_CREATE : 0) | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, flags, nullptr);
  if (code != SQLITE_OK) {
    const Failure failure{code, explain(db_, code)};
    sqlite3_close(db_);
    throw failure;
  }
  sqlite3_busy_handler(db_, &Connection::wait_for_lock, this);
  give_up_at_ = std::chrono::steady_clock::now() + busy_timeout_;
}

Connection::Connection(sqlite3* borrowed, std::string schema)
    : db_(borrowed), owns_(false), schema_(std::move(schema)) {}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  if (owns_) sqlite3_close(db_);
}

void Connection::fail(int code) const { throw Failure{code, explain(db_, code)}; }

void Connection::execute(const std::string& script) {
  if (session_) {
    for (const std::string& text : sql::statements_of(script)) run_by_session(text);
    return;
  }
  if (sqlite3_exec(db_, script.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK)
    fail(sqlite3_extended_errcode(db_));
}

sqlite3_stmt* Connection::prepared(const Sql& sql) {
  if (const auto found = statements_.find(&sql); found != statements_.end()) return found->second;
  // On a connection that attached our file it has another name.
  const std::string text =
      schema_ == "main" ? std::string{sql.text} : sql::with_main(sql.text, sql::quoted(schema_) + ".");
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(db_, text.c_str(), static_cast<int>(text.size()) + 1,
                                      owns_ ? SQLITE_PREPARE_PERSISTENT : 0U, &statement, nullptr);
  if (code != SQLITE_OK) fail(sqlite3_extended_errcode(db_));
  statements_.emplace(&sql, statement);
  return statement;
}

int Connection::changes() const noexcept { return sqlite3_changes(db_); }

std::int64_t Connection::last_row() const {
  if (!session_) return sqlite3_last_insert_rowid(db_);
  Query row = ask_session("SELECT last_insert_rowid()");
  row.step();
  return row.integer(0);
}

std::optional<LogHeader> Connection::log_header() const noexcept {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER, static_cast<void*>(&file)) != SQLITE_OK)
    return {};
  if (file == nullptr || file->pMethods == nullptr || file->pMethods->iVersion < 2) return {};
  constexpr int region_bytes = 32 * 1024;  // What all who map the index map at once.
  volatile void* region = nullptr;
  if (file->pMethods->xShmMap(file, 0, region_bytes, 0, &region) != SQLITE_OK || region == nullptr) return {};
  LogHeader header;
  const auto* const words = static_cast<const volatile std::uint64_t*>(region);
  std::copy_n(words, header.size(), header.begin());
  return header;
}

void Connection::check_bind(sqlite3_stmt* statement, int code) {
  if (code == SQLITE_OK) return;
  throw Failure{code, explain(sqlite3_db_handle(statement), code)};
}

void Connection::bind_integer(sqlite3_stmt* statement, int index, std::int64_t value) {
  check_bind(statement, sqlite3_bind_int64(statement, index, value));
}

void Connection::bind(sqlite3_stmt* statement, int index, std::nullptr_t) {
  check_bind(statement, sqlite3_bind_null(statement, index));
}

void Connection::bind(sqlite3_stmt* statement, int index, std::string_view text) {
  // A null pointer would bind NULL: an empty text has an address too.
  const char* const data = text.data() != nullptr ? text.data() : "";
  check_bind(statement, sqlite3_bind_text64(statement, index, data, text.size(), SQLITE_STATIC, SQLITE_UTF8));
}

void Connection::bind(sqlite3_stmt* statement, int index, Blob blob) {
  const char* const data = blob.bytes.data() != nullptr ? blob.bytes.data() : "";
  check_bind(statement, sqlite3_bind_blob64(statement, index, data, blob.bytes.size(), SQLITE_STATIC));
}

/// SQLite's own handler sleeps up to 100 ms and starves: a renewal beside one bulk writer waited for over a
/// second. Short sleeps of random length cost little and make the wait fair enough.
int Connection::wait_for_lock(void* self, int) noexcept {
  const auto* const connection = static_cast<const Connection*>(self);
  if (std::chrono::steady_clock::now() >= connection->give_up_at_) return 0;
  thread_local std::minstd_rand jitter{
      static_cast<unsigned>(std::hash<std::thread::id>{}(std::this_thread::get_id()))};
  std::this_thread::sleep_for(std::chrono::microseconds{200 + jitter() % 600});
  return 1;
}

}  // namespace tidemill::sqlite
