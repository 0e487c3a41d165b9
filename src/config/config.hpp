#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <tidemill/log_sinks.hpp>
#include <tidemill/persistent_queue.hpp>
#include <tidemill/retry.hpp>
#include <tidemill/schedule.hpp>
#include <tidemill/worker.hpp>

#include "deliver/options.hpp"

/// The server's configuration file, in YAML.
namespace tidemill::config {

enum class Role : std::uint8_t { viewer, operator_, admin, producer, worker };
inline constexpr std::array all_roles = {Role::viewer, Role::operator_, Role::admin, Role::producer,
                                         Role::worker};
/// "operator".
std::string_view to_string(Role role) noexcept;

/// That a token may be allowed in a minute.
inline constexpr std::int64_t requests_most = 10'000'000;

/// Who may send requests. Only the secret's SHA-256 is known here.
struct Token {
  std::string name = {};
  Role role = Role::viewer;
  std::string secret_sha256 = {};        ///< In hexadecimal, lower case.
  std::string secret_variable = {};      ///< Of the environment, that it comes from; empty: it doesn't.
  std::vector<std::string> queues = {};  ///< Globs such as "mail" or "img:*"; none: all queues.
  std::int64_t requests_per_minute = 0;  ///< Zero: any number.
};

struct Delivery {
  std::vector<std::string> kinds = {};             ///< "mail:send", or a prefix with '*' at its end.
  std::optional<deliver::HttpDelivery> http = {};  ///< One of these two is there.
  std::optional<deliver::CommandDelivery> command = {};
  std::optional<RetryPolicy> retry = {};
  std::vector<std::string> secret_variables = {};  ///< Of the environment, that its secrets come from.
};

/// A queue of PersistentQueue's tables, whose jobs are delivered.
struct PersistentQueue {
  persistent_queue::TableOptions table = {};  ///< With a connection that is made when it is first used.
  std::string url = {};
  Duration wait = std::chrono::seconds{10};  ///< Before a retry.
  std::int32_t concurrency = 100;
  Delivery delivery = {};  ///< Without kinds.
};

struct Outgoing {
  std::size_t in_flight_max = 10'000;
  std::size_t per_host_max = 1'000;
  Duration connect_timeout = std::chrono::seconds{10};
  /// Networks (CIDR) that calls may go to although they are private, loopback or link-local.
  std::vector<std::string> allow_networks = {};
};

struct Limits {
  std::size_t body_bytes = 8U << 20U;
  std::size_t header_bytes = 16U << 10U;
  std::size_t connections = 20'000;
  std::size_t tasks_per_request = 10'000;
  Duration idle_timeout = std::chrono::seconds{75};
  Duration headers_timeout = std::chrono::seconds{10};
  Duration body_timeout = std::chrono::seconds{60};

  bool operator==(const Limits&) const = default;
};

/// Where schedules come from, again and again.
struct ScheduleFile {
  std::string path = {};
  Duration sync_interval = std::chrono::minutes{3};
};

struct Logging {
  Level level = Level::info;
  LogFormat format = LogFormat::text;  ///< On stderr, where there is no file.
  std::optional<LogFileOptions> file = {};
  bool source = false;                                 ///< File and line of the code that says it.
  bool statements = false;                             ///< What is asked of the store, at level debug.
  std::optional<LogFileOptions> statements_file = {};  ///< None: among the others.

  bool operator==(const Logging&) const = default;
};

struct Config {
  std::string store = "sqlite:tidemill.db";
  std::string listen = "127.0.0.1:8470";
  std::vector<std::string> roles = {"api", "worker", "scheduler"};
  std::vector<Token> tokens = {};
  std::vector<std::string> open_routes = {};  ///< "POST /api/v1/tasks": need no token.
  Limits limits = {};
  std::vector<QueueWeight> queues = {{}};
  bool strict = false;
  std::int32_t concurrency = 1'000;  ///< Deliveries at one time.
  std::int32_t commands = 10;        ///< Of which commands.
  Duration shutdown_timeout = std::chrono::seconds{20};
  std::vector<Delivery> deliveries = {};
  std::vector<PersistentQueue> persistent_queues = {};
  Outgoing outgoing = {};
  std::optional<std::vector<Schedule>> schedules = {};  ///< None: those in the store are left alone.
  std::optional<ScheduleFile> schedule_file = {};       ///< Of which `schedules` are what was read.
  Logging log = {};
};

/// The variables of the environment that hold the configuration's secrets: commands don't find them.
std::vector<std::string> secret_variables(const Config& config);

/// Where a server listens.
struct Place {
  std::string host = {};  ///< An address, without brackets.
  std::uint16_t port = 0;
  bool loopback = false;
};
/// Of "HOST:PORT" or "[HOST]:PORT". Throws Error{invalid}.
Place parse_place(const std::string& text);
/// Whoever reaches a server without tokens may do anything, so only programs of its machine must reach it.
/// Throws Error{invalid} where others would.
void check_reach(const Config& config);

/// Throws Error{invalid} with one line a mistake: "FILE:LINE:COLUMN: what, and what would be right".
/// `file` names the text in messages; files that it names are looked for beside it.
Config parse(std::string_view text, const std::string& file);
/// Throws as `parse`, and Error{invalid} when the file can't be read.
Config load(const std::string& file);

}  // namespace tidemill::config
