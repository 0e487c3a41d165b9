#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <tidemill/inspector.hpp>

/// What `tidemill top` shows, without the terminal.
namespace tidemill::cli {

/// Outcomes a minute, of a queue or a kind.
struct Rate {
  std::string name = {};
  double success = 0, failure = 0;
  Duration mean{};  ///< Run time of an attempt.
};

struct TopSnapshot {
  std::string store = {};
  TimePoint now{};
  std::vector<QueueInfo> queues = {};
  std::vector<WorkerInfo> workers = {};
  std::vector<Rate> queue_rates = {};
  std::vector<Rate> kind_rates = {};  ///< The busiest first.
  std::string trouble = {};           ///< Why it is not of now.
};

/// Asks for all of it. Throws Error.
TopSnapshot take_top_snapshot(Inspector& inspector, std::string_view store);

/// Rates at `now`: the part of the last minute that this one does not cover yet counts too. The busiest
/// first.
std::vector<Rate> rates(const std::vector<Stat>& stats, TimePoint now, std::string Stat::* name);

struct TopLine {
  enum class Style : unsigned char { plain, head, chosen, trouble };
  std::string text = {};
  Style style = Style::plain;
};

/// What to show; `chosen` is the number of a queue, and is in sight. `height` zero: as many lines as it
/// takes, and no word of keys. No line is wider than `width`; zero: as wide as it takes.
std::vector<TopLine> render(const TopSnapshot& snapshot, std::size_t chosen, std::size_t width,
                            std::size_t height);

}  // namespace tidemill::cli
