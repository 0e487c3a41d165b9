#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace tidemill::sql {

/// A connection that somebody else has made, by whatever library. Statements go one by one, as texts without
/// parameters, and their answers come as texts.
///
/// Thread safety: none; one thread at a time.
class Session {
 public:
  using Row = std::vector<std::optional<std::string>>;

  /// It didn't work; as far as known, why.
  struct Refusal : std::runtime_error {
    Refusal(const std::string& message, std::string its_state, int its_number, bool is_lost)
        : runtime_error(message), state(std::move(its_state)), number(its_number), lost(is_lost) {}
    std::string state;  ///< SQLSTATE, five letters; empty: not known.
    int number;         ///< The server's; 0: not known.
    bool lost;          ///< The connection is of no use any more, for sure.
  };

  Session() = default;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  virtual ~Session() = default;

  /// How many rows were changed, as the connection counts. Throws Refusal, as `query` does.
  virtual std::int64_t execute(const std::string& text) = 0;
  virtual std::vector<Row> query(const std::string& text) = 0;
  /// Whether the server answers, be it with a refusal.
  virtual bool alive() noexcept = 0;
};

/// Gives a connection that is in nobody else's hands. Throws Session::Refusal. May be called by any thread.
using Sessions = std::function<std::unique_ptr<Session>()>;

}  // namespace tidemill::sql
