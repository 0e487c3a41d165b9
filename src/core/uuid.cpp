#include "core/uuid.hpp"

#include <pthread.h>
#include <sys/random.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>

namespace tidemill {

namespace {

// A child process must not go on with its parent's random bytes: the generation tells a thread to draw anew.
std::atomic<std::uint64_t> fork_generation{0};

struct RandomBuffer {
  std::array<std::uint64_t, 128> words{};
  std::size_t used = 128;
  std::uint64_t generation = 0;
  std::uint64_t last_tick = 0;

  std::uint64_t draw() {
    const std::uint64_t now = fork_generation.load(std::memory_order_relaxed);
    if (used == words.size() || generation != now) {
      fill();
      generation = now;
    }
    return words[used++];
  }

  void fill() {
    static const int registered =
        pthread_atfork(nullptr, nullptr, [] { fork_generation.fetch_add(1, std::memory_order_relaxed); });
    (void)registered;
    auto* bytes = reinterpret_cast<unsigned char*>(words.data());
    std::size_t have = 0;
    while (have < sizeof words) {
      const ssize_t got = getrandom(bytes + have, sizeof words - have, 0);
      if (got < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "getrandom");
      if (got > 0) have += static_cast<std::size_t>(got);
    }
    used = 0;
  }
};

thread_local RandomBuffer buffer;

constexpr char digits[] = "0123456789abcdef";
// Where the text of byte i begins.
constexpr std::array<std::size_t, 16> places = {0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34};

int digit_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::uint64_t random_bits() { return buffer.draw(); }

double random_unit() { return static_cast<double>(random_bits() >> 11U) * 0x1.0p-53; }

Uuid make_uuid() {
  // Milliseconds in the upper bits, 4,096ths of a millisecond in the lower twelve.
  const auto nanoseconds = static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                                          std::chrono::system_clock::now().time_since_epoch())
                                                          .count());
  std::uint64_t tick = (nanoseconds / 1'000'000 << 12U) | (nanoseconds % 1'000'000 * 4096 / 1'000'000);
  if (tick <= buffer.last_tick && buffer.last_tick - tick < (10'000ULL << 12U)) tick = buffer.last_tick + 1;
  buffer.last_tick = tick;

  const std::uint64_t high = (tick >> 12U << 16U) | 0x7000U | (tick & 0xfffU);
  const std::uint64_t low = (random_bits() >> 2U) | 0x8000'0000'0000'0000U;
  Uuid uuid;
  for (unsigned i = 0; i < 8; ++i) {
    uuid[i] = static_cast<std::uint8_t>(high >> (56U - 8U * i));
    uuid[8 + i] = static_cast<std::uint8_t>(low >> (56U - 8U * i));
  }
  return uuid;
}

std::string to_string(const Uuid& uuid) {
  std::string text(36, '-');
  for (std::size_t i = 0; i < 16; ++i) {
    text[places[i]] = digits[uuid[i] >> 4U];
    text[places[i] + 1] = digits[uuid[i] & 15U];
  }
  return text;
}

std::optional<Uuid> parse_uuid(std::string_view text) noexcept {
  if (text.size() != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-') return {};
  Uuid uuid;
  for (std::size_t i = 0; i < 16; ++i) {
    const int high = digit_value(text[places[i]]);
    const int low = digit_value(text[places[i] + 1]);
    if (high < 0 || low < 0) return {};
    uuid[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return uuid;
}

}  // namespace tidemill
