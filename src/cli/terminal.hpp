#pragma once

#include <termios.h>

#include <chrono>
#include <iosfwd>
#include <string>

namespace tidemill::cli {

/// A terminal that shows a page of ours and tells each key; as it was before when the object goes, however
/// that comes about. While it lives, the signals that end a program are told by `wait` and do nothing else.
///
/// Make it before there are threads: they take over which signals are blocked.
class Terminal {
 public:
  /// Whether standard input and output are one.
  static bool is_there();

  /// Throws Error{unavailable}. `out` is standard output.
  explicit Terminal(std::ostream& out);
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  struct Size {
    std::size_t width = 80, height = 24;
  };
  Size size() const;

  enum class Event : unsigned char { none, keys, resized, end };
  /// What happens next; none: nothing until then. `keys` is what was typed, as it came.
  Event wait(std::chrono::steady_clock::time_point until, std::string& keys);

  /// Shows this in place of what was there. Lines end with "\n".
  void draw(std::string_view page);

 private:
  std::ostream& out_;
  termios before_{};
  sigset_t mask_{};
  int signals_ = -1;
};

}  // namespace tidemill::cli
