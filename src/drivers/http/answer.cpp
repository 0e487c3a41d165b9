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
  } else {
    waiting_ += bytes;
  }
  if (on_write_) on_write_();
  return !over_;
}

void Stream::end() {
  const std::lock_guard lock{mutex_};
  over_ = true;
  if (on_write_) on_write_();
}

bool Stream::over() const {
  const std::lock_guard lock{mutex_};
  return over_;
}

}  // namespace tidemill::http
