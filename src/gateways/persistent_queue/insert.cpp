// Rows of jobs that are new, and rows of leases' terms.
#include <fmt/format.h>

#include <tidemill/error.hpp>

#include "core/utf8.hpp"
#include "gateways/persistent_queue/jobs.hpp"
#include "gateways/persistent_queue/rows.hpp"
#include "gateways/persistent_queue/texts.hpp"

namespace tidemill::persistent_queue {

namespace {

constexpr std::size_t params_characters_max = 4096;
constexpr std::int64_t start_time_max = 0xFFFF'FFFF;

constexpr auto begin_text =
    sql::join("INSERT INTO tidemill_shedlock (lock_name, epoch, owner, clean) VALUES (?, ", now_us,
              ", ?, 0) ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch + 1, ", now_us,
              "), owner = VALUES(owner), clean = 0");

std::size_t characters_of(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0U) != 0x80U ? 1 : 0;
  return count;
}

}  // namespace

std::string fault_of(const NewJob& job) {
  if (!is_utf8(job.params))
    return "params are not UTF-8, which the column holds alone; encode them, as base64";
  if (const std::size_t count = characters_of(job.params); count > params_characters_max)
    return fmt::format("params have {} characters; the column holds {}", count, params_characters_max);
  if (job.start_time < 0 || job.start_time > start_time_max)
    return fmt::format("start_time is {}; it may be 0 to {}, in Unix seconds", job.start_time,
                       start_time_max);
  return {};
}

std::uint64_t add_job(const SqlHandle& db, const NewJob& job) {
  if (const std::string fault = fault_of(job); !fault.empty())
    throw Error{ErrorKind::invalid, "add async job error: " + fault};
  try {
    return insert_job(db, job);
  } catch (const Error& error) {
    throw Error{error.kind(), fmt::format("add async job error: {}", error.what())};
  }
}

std::uint64_t insert_job(const SqlHandle& db, const NewJob& job) {
  const std::vector<SqlValue> values{SqlValue{job.params}, SqlValue{std::int64_t{job.job_type}},
                                     SqlValue{job.start_time}};
  const auto lock = db.lock();
  const std::int64_t count = db.execute(
      "INSERT INTO async_job_tab (params, job_type, job_status, start_time, create_time, update_time) "
      "VALUES (?, ?, 0, ?, UNIX_TIMESTAMP(), UNIX_TIMESTAMP())",
      values);
  if (count != 1) throw Error{ErrorKind::unavailable, fmt::format("{} rows were inserted, not 1", count)};
  const std::int64_t id = integer_of(db.query("SELECT LAST_INSERT_ID()").at(0), 0);
  if (id == 0) throw Error{ErrorKind::unknown_outcome, "the connection was lost after the INSERT"};
  return static_cast<std::uint64_t>(id);
}

// ---- Terms

std::uint64_t begin_term(const SqlHandle& db, const std::string& lock_name, const std::string& owner,
                         const std::string& before, bool& clean) {
  const SqlValue name{lock_name};
  const std::string read = "SELECT owner, clean, epoch FROM tidemill_shedlock WHERE lock_name = ?";
  const std::vector<SqlRow> last = db.query(read, {&name, 1});
  clean = !last.empty() && text_of(last[0], 0) == before && integer_of(last[0], 1) == 1;
  const std::vector<SqlValue> values{name, SqlValue{owner}};
  db.execute(begin_text.data(), values);
  const std::vector<SqlRow> now = db.query(read, {&name, 1});
  if (now.empty() || text_of(now[0], 0) != owner)
    throw Error{ErrorKind::unavailable, "another node has begun a term at the same time"};
  return static_cast<std::uint64_t>(integer_of(now[0], 2));
}

void end_term_cleanly(const SqlHandle& db, const std::string& lock_name, const std::string& owner) {
  const std::vector<SqlValue> values{SqlValue{lock_name}, SqlValue{owner}};
  db.execute("UPDATE tidemill_shedlock SET clean = 1 WHERE lock_name = ? AND owner = ?", values);
}

}  // namespace tidemill::persistent_queue
