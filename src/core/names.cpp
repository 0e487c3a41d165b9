// The names of all enumerations, in one place: what is printed is what is parsed.
#include <array>
#include <string_view>

#include <tidemill/handler.hpp>
#include <tidemill/log.hpp>
#include <tidemill/store.hpp>

namespace tidemill {

namespace {

template <std::size_t N>
constexpr std::string_view name(const std::array<std::string_view, N>& names, auto value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  return index < N ? names[index] : std::string_view{"?"};
}

template <class E, std::size_t N>
std::optional<E> parse(const std::array<std::string_view, N>& names, std::string_view text) noexcept {
  for (std::size_t i = 0; i < N; ++i) {
    if (names[i] == text) return static_cast<E>(i);
  }
  return {};
}

using Names = std::string_view;
constexpr std::array states = {Names{"gone"},  Names{"scheduled"}, Names{"pending"},  Names{"active"},
                               Names{"retry"}, Names{"completed"}, Names{"archived"}, Names{"aggregating"},
                               Names{"held"},  Names{"blocked"}};
constexpr std::array levels = {Names{"debug"}, Names{"info"}, Names{"warning"}, Names{"error"},
                               Names{"silent"}};
constexpr std::array puts = {Names{"created"}, Names{"replaced"}, Names{"exists"}, Names{"busy"},
                             Names{"fired"},   Names{"invalid"},  Names{"failed"}, Names{"unknown"}};
constexpr std::array reports = {Names{"applied"}, Names{"lost"}, Names{"ended"}, Names{"failed"},
                                Names{"unknown"}};
constexpr std::array signals = {Names{"none"},  Names{"cancel"}, Names{"hold"}, Names{"lost"},
                                Names{"quiet"}, Names{"resume"}, Names{"stop"}};
constexpr std::array changes = {Names{"changed"}, Names{"signalled"}, Names{"absent"}, Names{"wrong_state"},
                                Names{"failed"}};
constexpr std::array features = {Names{"list"},     Names{"search"}, Names{"delay"},     Names{"unique"},
                                 Names{"priority"}, Names{"groups"}, Names{"schedules"}, Names{"hold"},
                                 Names{"crashes"},  Names{"inside"}};
constexpr std::array outcomes = {Names{"success"}, Names{"failure"}, Names{"snooze"},  Names{"again"},
                                 Names{"discard"}, Names{"archive"}, Names{"deferred"}};
constexpr std::array reasons = {Names{"none"},     Names{"cancel"},   Names{"hold"}, Names{"timeout"},
                                Names{"deadline"}, Names{"shutdown"}, Names{"lost"}};

static_assert(states.size() == state_count);

}  // namespace

std::string_view to_string(State state) noexcept { return name(states, state); }
std::optional<State> parse_state(std::string_view text) noexcept { return parse<State>(states, text); }
std::string_view to_string(Level level) noexcept { return name(levels, level); }
std::optional<Level> parse_level(std::string_view text) noexcept { return parse<Level>(levels, text); }
std::string_view to_string(Put put) noexcept { return name(puts, put); }
std::string_view to_string(Reported reported) noexcept { return name(reports, reported); }
std::string_view to_string(Signal signal) noexcept { return name(signals, signal); }
std::string_view to_string(Changed changed) noexcept { return name(changes, changed); }
std::string_view to_string(Feature feature) noexcept { return name(features, feature); }
std::string_view to_string(Outcome::Kind kind) noexcept { return name(outcomes, kind); }
std::string_view to_string(StopReason reason) noexcept { return name(reasons, reason); }

}  // namespace tidemill
