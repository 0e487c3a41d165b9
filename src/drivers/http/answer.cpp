// What others hold of a connection: the right to answer, and the end of a stream that they write to.
#include <atomic>
#include <utility>

#include "drivers/http/server.hpp"

namespace tidemill::http {

struct Answer::Once {
  Once(Send s, Watch w) : send(std::move(s)), watch(std::move(w)) {}
  ~Once() {
    if (!done.exchange(true)) send(Response{.status = 0});
  }
  Once(const Once&) = delete;
  Once& operator=(const Once&) = delete;

  Send send;
  Watch watch;
  std::atomic<bool> done{false};
};

Answer::Answer(Send send, Watch watch) : once_(std::make_shared<Once>(std::move(send), std::move(watch))) {}

void Answer::operator()(Response response) const {
  if (once_->done.exchange(true)) return;
  const Send send = std::exchange(once_->send, {});  // Lets go of the connection.
  send(std::move(response));
}

void Answer::watch(std::function<void()> gone) const {
  if (once_->watch) once_->watch(std::move(gone));
}

// ---- Stream

bool Stream::write(std::string_view bytes) {
  const std::lock_guard lock{mutex_};
  if (over_) return false;
  if (!waiting_.empty() && waiting_.size() + bytes.size() > waiting_max_) {
    waiting_.clear();
    over_ = true;
    room_.notify_all();
  } else {
    waiting_ += bytes;
  }
  if (on_write_) on_write_();
  return !over_;
}

bool Stream::write_or_wait(std::string_view bytes) {
  std::unique_lock lock{mutex_};
  room_.wait(lock,
             [&] { return over_ || waiting_.empty() || waiting_.size() + bytes.size() <= waiting_max_; });
  if (over_) return false;
  waiting_ += bytes;
  if (on_write_) on_write_();
  return true;
}

void Stream::end() {
  const std::lock_guard lock{mutex_};
  over_ = true;
  room_.notify_all();
  if (on_write_) on_write_();
}

bool Stream::over() const {
  const std::lock_guard lock{mutex_};
  return over_;
}

}  // namespace tidemill::http
