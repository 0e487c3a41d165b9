// How statements travel.
#include <mysql.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <stdexcept>

#include <fmt/format.h>

#include "drivers/mysql/mysql.hpp"
#include "drivers/mysql/text.hpp"

namespace tidemill::mysql {

namespace {

constexpr unsigned text_too_long = 1153;  // ER_NET_PACKET_TOO_LARGE

/// The server has closed, whatever it may have said before.
bool closed_by_peer(MYSQL* connection) {
  pollfd entry{.fd = mysql_get_socket(connection), .events = POLLRDHUP, .revents = 0};
  return entry.fd < 0 || ::poll(&entry, 1, 0) > 0;
}

}  // namespace

/// A statement of what is on its way.
struct Connection::Item {
  std::size_t statement;     ///< Of the batch; or Failure::no_statement.
  std::size_t begin, bytes;  ///< Where its text stands.
  bool commits;
};

/// What is on its way, and what became of it.
struct Connection::Trip {
  std::string text = {};
  std::vector<Item> items = {};
  bool begins = false;      ///< It has begun a transaction.
  bool may_commit = false;  ///< From here on the server may make it last.
  std::vector<Query> answers = {};
};

std::vector<Query> Connection::send(const Batch& batch, Scope scope) {
  if (session_) return send_by_session(batch, scope);
  look_alive();
  Trip trip = plan(batch, scope);
  const bool open = (status() & SERVER_STATUS_IN_TRANS) != 0;
  try {
    for (const Item& item : trip.items) check_size(item.bytes, item.statement);
    if (together_ && trip.text.size() < text_bytes_max_) {
      exchange(trip, 0, trip.items.size());
    } else {
      for (std::size_t i = 0; i < trip.items.size(); ++i) exchange(trip, i, i + 1);
    }
  } catch (const Failure& failure) {
    if (!failure.lost()) clean_up(trip.begins, open);
    throw;
  }
  return std::move(trip.answers);
}

void Connection::check_size(std::size_t bytes, std::size_t statement) const {
  if (bytes < text_bytes_max_) return;
  Failure failure{
      Outcome::refused, text_too_long, "08S01",
      fmt::format("a statement has {} bytes; the server's max_allowed_packet is {}", bytes, text_bytes_max_)};
  failure.statement_ = statement;
  throw failure;
}

/// Before anything is sent. What it throws leaves nothing in doubt.
void Connection::look_alive() {
  if (!usable_) throw Failure{Outcome::undone, 0, {}, "the connection was lost before"};
  if (owns_ && std::chrono::steady_clock::now() >= deadline_) {
    const bool open = in_transaction();
    if (open) close(false);  // There is no time for more.
    throw Failure{open ? Outcome::undone : Outcome::refused, 0, {}, "the time for the call is up", true};
  }
  if (!closed_by_peer(connection_)) return;
  close(false);
  throw Failure{Outcome::undone, 0, {}, "the server has closed the connection"};
}

const sql::Template& Connection::template_of(const Sql& sql) {
  const auto [found, fresh] = templates_.try_emplace(&sql);
  if (fresh) found->second = sql::cut(sql::with_main(sql.text, main_));
  return found->second;
}

void Connection::append_statement(std::string& text, const Batch::Statement& statement) {
  const sql::Template& its = template_of(*statement.sql);
  const std::span<const Parameters::Place> places = statement.parameters.places();
  if (its.parameters != places.size()) {
    throw std::logic_error{fmt::format("{} arguments for the {} parameters of: {}", places.size(),
                                       its.parameters, statement.sql->text)};
  }
  for (const sql::Template::Part& part : its.parts) {
    text += part.text;
    statement.parameters.append_to(text, places[part.parameter], mariadb_);
  }
  text += its.end;
}

Connection::Trip Connection::plan(const Batch& batch, Scope scope) {
  const bool open = in_transaction();
  if (open && scope == Scope::begins) throw std::logic_error{"a transaction is open already"};
  if (!open && scope == Scope::commits) throw std::logic_error{"no transaction is open"};
  const bool alone = scope == Scope::plain && !open;
  const bool wraps = alone && batch.size() > 1;
  Trip trip;
  const auto add = [&](std::size_t statement, bool commits, auto append) {
    if (!trip.text.empty()) trip.text += ';';
    const std::size_t begin = trip.text.size();
    append();
    trip.items.push_back(
        {.statement = statement, .begin = begin, .bytes = trip.text.size() - begin, .commits = commits});
  };
  trip.begins = wraps || scope == Scope::begins;
  if (trip.begins) add(Failure::no_statement, false, [&] { trip.text += begin_text; });
  for (std::size_t i = 0; i < batch.size(); ++i)
    add(i, alone && !wraps, [&] { append_statement(trip.text, batch.statements_[i]); });
  if (wraps || scope == Scope::commits) add(Failure::no_statement, true, [&] { trip.text += commit_text; });
  return trip;
}

/// These items as one text, and their answers. Throws Failure.
void Connection::exchange(Trip& trip, std::size_t first, std::size_t end) {
  if (first == end) return;
  const auto item = [&](std::size_t i) { return trip.items[i]; };
  if (item(end - 1).commits) trip.may_commit = true;
  const std::size_t begin = item(first).begin;
  const std::string_view text{trip.text.data() + begin, item(end - 1).begin + item(end - 1).bytes - begin};
  for (std::size_t i = first; i < end; ++i) {
    std::optional<Query> answer;
    if (i == first ? ask(text) : next()) answer = take();
    if (!answer) fail(trip.may_commit, item(i).statement, item(i).commits);
    if (item(i).statement != Failure::no_statement) trip.answers.push_back(std::move(*answer));
  }
  if (mysql_more_results(connection_) == 0) return;
  close(false);
  throw std::logic_error{fmt::format("there are more answers than statements: {}", text.substr(0, 200))};
}

/// Sends the text, and waits for the first answer to begin.
bool Connection::ask(std::string_view text) {
  int failed = 0;
  if (!owns_) return mysql_real_query(connection_, text.data(), text.size()) == 0;
  wait([&] { return mysql_real_query_start(&failed, connection_, text.data(), text.size()); },
       [&](int ready) { return mysql_real_query_cont(&failed, connection_, ready); });
  return failed == 0;
}

/// The whole of the answer that has begun; none if the server stops in the middle of it.
std::optional<Query> Connection::take() {
  // Once the connection is lost, this is not known any more.
  const bool has_rows = mysql_field_count(connection_) != 0;
  MYSQL_RES* result = nullptr;
  if (owns_) {
    wait([&] { return mysql_store_result_start(&result, connection_); },
         [&](int ready) { return mysql_store_result_cont(&result, connection_, ready); });
  } else {
    result = mysql_store_result(connection_);
  }
  Query answer{result, static_cast<std::int64_t>(mysql_affected_rows(connection_))};
  if (result == nullptr && has_rows) return {};
  return answer;
}

/// Waits for the next answer to begin.
bool Connection::next() {
  int failed = 0;
  if (!owns_) return mysql_next_result(connection_) == 0;
  wait([&] { return mysql_next_result_start(&failed, connection_); },
       [&](int ready) { return mysql_next_result_cont(&failed, connection_, ready); });
  return failed == 0;
}

/// Of the statement whose answer could not be had. The connection may be of no use any more.
void Connection::fail(bool may_commit, std::size_t statement, bool commits) {
  const unsigned number = mysql_errno(connection_);
  Failure failure{Outcome::refused, number, mysql_sqlstate(connection_), mysql_error(connection_)};
  failure.statement_ = statement;
  if (ends_connection(number)) {
    // The server's own word on a statement before the commit is that it never came to that.
    const bool doubt = is_of_library(number) ? may_commit : commits;
    failure.outcome_ = doubt ? Outcome::unknown : Outcome::undone;
    failure.timed_out_ = gave_up_;
    if (is_of_library(number)) failure.state_.clear();
    if (gave_up_) failure.message_ = "no answer in time";
    close(gave_up_);
  }
  throw failure;
}

/// After the server has answered with an error, and everything has been read.
void Connection::clean_up(bool begins, bool was_open) noexcept {
  if (owns_ || begins) return rollback();
  // An error says nothing of the transaction; whatever succeeds does.
  if (was_open && (!ask("DO 0") || (status() & SERVER_STATUS_IN_TRANS) == 0)) transaction_failed_ = true;
}

void Connection::execute(const std::string& script) {
  if (session_) return run_by_session(script);
  look_alive();
  bool ok = ask(sql::with_main(script, main_)) && take();
  while (ok && mysql_more_results(connection_) != 0) ok = next() && take();
  if (ok) return;
  const bool open = (status() & SERVER_STATUS_IN_TRANS) != 0;
  try {
    fail(true, Failure::no_statement, true);
  } catch (const Failure& failure) {
    if (!failure.lost()) clean_up(false, open);
    throw;
  }
}

void Connection::rollback() noexcept {
  if (!usable_ || !in_transaction()) return;
  transaction_failed_ = false;
  if (!session_) {
    if (!ask("ROLLBACK")) close(gave_up_);
    return;
  }
  open_ = false;
  try {
    session_->execute("ROLLBACK");
  } catch (const std::exception&) {
    close(false);
  }
}

unsigned Connection::status() const noexcept {
  unsigned flags = 0;
  if (connection_ != nullptr) mariadb_get_infov(connection_, MARIADB_CONNECTION_SERVER_STATUS, &flags);
  return flags;
}

bool Connection::in_transaction() const noexcept {
  if (session_) return usable_ && open_;
  const unsigned flags = status();
  return usable_ && ((flags & SERVER_STATUS_IN_TRANS) != 0 || (flags & SERVER_STATUS_AUTOCOMMIT) == 0);
}

}  // namespace tidemill::mysql
