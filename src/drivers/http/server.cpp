#include "drivers/http/server.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <thread>
#include <unordered_set>

#include <fmt/format.h>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include <pthread.h>

#include "drivers/http/content_coding.hpp"
#include "drivers/http/request_target.hpp"

namespace tidemill::http {

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bh = boost::beast::http;
using tcp = asio::ip::tcp;

constexpr std::size_t read_size = 8192;
constexpr std::size_t whole_read_size = 65'536;
/// After an error of his the peer may still be sending; for so long it is read, so that he gets our answer
/// and no reset.
constexpr auto linger_for = std::chrono::seconds{2};
constexpr auto accept_pause = std::chrono::milliseconds{50};

std::string lower(beast::string_view text) { return lower_case({text.data(), text.size()}); }

struct Refused {
  int status;
  const char* why;
};

Refused refused(beast::error_code error) {
  if (error == bh::error::body_limit) return {413, "the body is too large"};
  if (error == bh::error::header_limit || error == bh::error::buffer_overflow)
    return {431, "the headers are too large"};
  if (error == bh::error::bad_transfer_encoding || error == bh::error::bad_content_length)
    return {400, "where the body ends is said by one Content-Length, or by Transfer-Encoding: chunked"};
  if (error == bh::error::bad_obs_fold) return {400, "a header goes on over several lines; write it on one"};
  if (error == bh::error::bad_target) return {400, "the target is no path, and no URL of a host"};
  return {400, "this is no HTTP/1.1 request"};
}

}  // namespace

// ---- Connection

class Connection;

/// All but `open` and `stopping` is used on the server's thread only.
struct Server::Impl {
  Impl(ServerOptions o, Handler h) : options(std::move(o)), handler(std::move(h)) {}

  void listen();
  void accept();
  void gone(Connection* connection);
  void close_idle();

  const ServerOptions options;
  const Handler handler;
  std::unordered_set<Connection*> connections;
  std::atomic<std::size_t> open{0};
  std::atomic<bool> stopping{false};
  std::uint16_t port = 0;
  std::mutex mutex;
  std::condition_variable all_gone;
  asio::io_context io{1};  // Below all that connections use when it ends, and they with it.
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};
  std::thread thread;
};

/// Reads a request, has it answered, and so on: one step hangs on the one before, all on the server's thread.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Server::Impl& server, std::string peer)
      : stream_(std::move(socket)),
        server_(server),
        peer_(std::move(peer)),
        buffer_(server.options.headers_max + whole_read_size) {}
  ~Connection() { server_.gone(this); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void start() { await_request(); }

  /// Between two requests: closes at once. Else the answer under way is the last one.
  void close_if_idle() {
    if (idle_) stream_.cancel();
    if (streamed_) streamed_->end();
  }

 private:
  using Parser = bh::request_parser<bh::string_body>;
  using Message = bh::response<bh::string_body>;

  void limit(std::chrono::milliseconds longest);
  void await_request();
  void read_header();
  void parse_header();
  void read_body();
  void handle();
  void send(Response&& response);
  void write(bool keep);
  void watch(std::function<void()> gone);
  void open_stream();
  void pump();
  void end_stream();
  void refuse(beast::error_code error);
  Response refusal(int status, std::string_view why) const;
  void linger();
  void close();

  beast::tcp_stream stream_;
  asio::steady_timer timer_{stream_.get_executor()};
  std::uint64_t limits_ = 0;
  bool timed_out_ = false;
  Server::Impl& server_;
  const std::string peer_;
  beast::flat_buffer buffer_;  // Bounded, as what stands between and after chunks has no limit of its own.
  std::optional<Parser> parser_;
  Headers headers_;       // Of the request that is read.
  RequestTarget target_;  // Likewise.
  std::optional<Message> message_;
  std::shared_ptr<Stream> streamed_;
  std::string chunk_;  // On its way.
  bool idle_ = false;
  bool watched_ = false;
  bool head_ = false;
  bool keep_ = false;
};

/// Of the step that begins: its read is cancelled when the time is over. The stream's own limit would close
/// the connection, and nobody would know why.
void Connection::limit(std::chrono::milliseconds longest) {
  timed_out_ = false;
  timer_.expires_after(longest);
  timer_.async_wait([self = shared_from_this(), number = ++limits_](beast::error_code cancelled) {
    if (cancelled || number != self->limits_) return;
    self->timed_out_ = true;
    self->stream_.cancel();
  });
}

void Connection::await_request() {
  if (server_.stopping) return close();
  if (buffer_.size() > 0) return read_header();  // The next one has been sent already.
  idle_ = true;
  limit(server_.options.idle_timeout);
  stream_.async_read_some(buffer_.prepare(read_size),
                          [self = shared_from_this()](beast::error_code error, std::size_t bytes) {
                            self->idle_ = false;
                            if (error) return self->close();
                            self->buffer_.commit(bytes);
                            self->read_header();
                          });
}

void Connection::read_header() {
  parser_.emplace();
  parser_->header_limit(server_.options.headers_max);
  parser_->body_limit(server_.options.body_max);
  limit(server_.options.headers_timeout);
  parse_header();
}

void Connection::parse_header() {
  beast::error_code error;
  const auto unread = buffer_.data();
  const std::size_t parsed = unread.size() == 0 ? 0 : parser_->put(unread, error);
  if (is_folded({static_cast<const char*>(unread.data()), parsed})) error = bh::error::bad_obs_fold;
  buffer_.consume(parsed);
  if (error && error != bh::error::need_more) return refuse(error);
  if (parser_->is_header_done()) return read_body();
  stream_.async_read_some(buffer_.prepare(read_size),
                          [self = shared_from_this()](beast::error_code failure, std::size_t bytes) {
                            if (failure) return self->refuse(failure);
                            self->buffer_.commit(bytes);
                            self->parse_header();
                          });
}

void Connection::read_body() {
  const auto& head = parser_->get();
  if (head.version() != 11 && head.version() != 10) return refuse(bh::error::bad_version);
  // Two ways to say where a body ends are two requests to two readers.
  if (head.count(bh::field::content_length) + head.count(bh::field::transfer_encoding) > 1)
    return refuse(bh::error::bad_content_length);
  // A body whose end nobody here can see would be read as the next request.
  const bool chunked = head.version() == 11 && beast::iequals(head[bh::field::transfer_encoding], "chunked");
  if (head.count(bh::field::transfer_encoding) > 0 && !chunked)
    return refuse(bh::error::bad_transfer_encoding);
  // Each reader might take another one of them.
  if (head.count(bh::field::host) > 1) return refuse(bh::error::bad_field);
  // What comes after a body in chunks is no header.
  headers_.clear();
  for (const auto& field : head)
    headers_.emplace_back(lower(field.name_string()), std::string{field.value()});
  auto target = parse_request_target({head.target().data(), head.target().size()});
  if (!target) return refuse(bh::error::bad_target);
  target_ = std::move(*target);
  if (!target_.host.empty()) {
    // What the header says does not count then.
    std::erase_if(headers_, [](const auto& header) { return header.first == "host"; });
    headers_.emplace_back("host", target_.host);
  }
  if (parser_->is_done()) return handle();
  limit(server_.options.body_timeout);
  const auto read = [self = shared_from_this()](beast::error_code error, std::size_t) {
    if (error) return self->refuse(error);
    self->handle();
  };
  if (!beast::iequals(head[bh::field::expect], "100-continue")) {
    bh::async_read(stream_, buffer_, *parser_, read);
    return;
  }
  auto go_on = std::make_shared<bh::response<bh::empty_body>>(bh::status::continue_, head.version());
  bh::async_write(stream_, *go_on,
                  [self = shared_from_this(), go_on, read](beast::error_code error, std::size_t) {
                    if (error) return self->close();
                    bh::async_read(self->stream_, self->buffer_, *self->parser_, read);
                  });
}

void Connection::handle() {
  ++limits_;  // What the handler takes is its own affair.
  timer_.cancel();
  auto message = parser_->release();
  head_ = message.method() == bh::verb::head;
  keep_ = message.keep_alive();
  Request request;
  request.method = std::string{message.method_string()};
  request.path = std::move(target_.path);
  request.query = std::move(target_.query);
  request.headers = std::move(headers_);
  request.body = std::move(message.body());
  request.peer = peer_;
  parser_.reset();
  if (const auto wrong = decode_body(request.headers, request.body, server_.options.body_max)) {
    Response response = refusal(wrong->status, wrong->why);
    if (wrong->status == 415) response.headers.emplace_back("Accept-Encoding", "gzip");
    return send(std::move(response));
  }
  // Connections live and end on the server's thread: whoever answers hands his share of this one over.
  server_.handler(std::move(request),
                  Answer{[self = shared_from_this()](Response&& response) mutable {
                           const auto executor = self->stream_.get_executor();
                           asio::dispatch(executor,
                                          [self = std::move(self), response = std::move(response)]() mutable {
                                            self->send(std::move(response));
                                          });
                         },
                         [weak = weak_from_this()](std::function<void()> gone) {
                           const auto self = weak.lock();
                           if (!self) return gone();
                           asio::dispatch(self->stream_.get_executor(),
                                          [self, gone = std::move(gone)] { self->watch(gone); });
                         }});
}

/// Until an answer goes out: a peer that sends nothing more, and then closes, is seen by a read of nothing.
void Connection::watch(std::function<void()> gone) {
  if (message_) return;
  watched_ = true;
  stream_.socket().async_wait(
      tcp::socket::wait_read, [self = shared_from_this(), gone = std::move(gone)](beast::error_code error) {
        if (error || self->message_) return;
        char byte = 0;
        beast::error_code end;
        (void)self->stream_.socket().receive(asio::buffer(&byte, 1), tcp::socket::message_peek, end);
        if (end) gone();
      });
}

void Connection::send(Response&& response) {
  if (response.status == 0) return close();
  if (std::exchange(watched_, false)) stream_.cancel();
  message_.emplace();
  message_->version(11);
  message_->result(static_cast<unsigned>(response.status));
  if (!response.content_type.empty()) message_->set(bh::field::content_type, response.content_type);
  for (const auto& [name, value] : response.headers) message_->set(name, value);
  // The end of a stream is that of its connection.
  const bool streams = response.stream != nullptr;
  streamed_ = std::move(response.stream);
  if (head_ && streams) std::exchange(streamed_, nullptr)->end();
  const bool keep = keep_ && !server_.stopping && !streams;
  message_->keep_alive(keep);
  const bool bodiless = response.status == 204 || response.status == 304;
  if (!bodiless && !streams) message_->content_length(response.body.size());
  if (!head_ && !bodiless) message_->body() = std::move(response.body);
  write(keep);
}

void Connection::write(bool keep) {
  stream_.expires_after(server_.options.body_timeout);  // Closes: whoever doesn't read gets no explanation.
  bh::async_write(stream_, *message_,
                  [self = shared_from_this(), keep](beast::error_code error, std::size_t) {
                    self->stream_.expires_never();
                    self->message_.reset();
                    if (self->streamed_) return error ? self->end_stream() : self->open_stream();
                    if (error) return self->close();
                    if (keep) return self->await_request();
                    beast::error_code ignored;
                    (void)self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
                    self->limit(linger_for);
                    self->linger();
                  });
}

void Connection::open_stream() {
  {
    const std::lock_guard lock{streamed_->mutex_};
    streamed_->on_write_ = [weak = weak_from_this(), executor = stream_.get_executor()] {
      asio::post(executor, [weak] {
        if (const auto self = weak.lock()) self->pump();
      });
    };
  }
  // Nothing more is expected of the peer, so what can be read is his end.
  stream_.async_read_some(buffer_.prepare(1), [self = shared_from_this()](beast::error_code, std::size_t) {
    self->end_stream();
  });
  pump();
}

void Connection::pump() {
  if (!chunk_.empty() || !streamed_) return;
  bool over = false;
  {
    const std::lock_guard lock{streamed_->mutex_};
    std::swap(chunk_, streamed_->waiting_);
    streamed_->room_.notify_all();
    over = streamed_->over_;
  }
  if (chunk_.empty()) {
    if (over) end_stream();
    return;
  }
  stream_.expires_after(server_.options.body_timeout);
  asio::async_write(stream_, asio::buffer(chunk_),
                    [self = shared_from_this()](beast::error_code error, std::size_t) {
                      self->stream_.expires_never();
                      self->chunk_.clear();
                      if (error) return self->end_stream();
                      self->pump();
                    });
}

void Connection::end_stream() {
  if (!streamed_) return;
  {
    const std::lock_guard lock{streamed_->mutex_};
    streamed_->over_ = true;
    streamed_->on_write_ = {};
    streamed_->room_.notify_all();
  }
  streamed_.reset();
  close();
}

/// The connection ends, as nobody can tell where the next request would begin.
void Connection::refuse(beast::error_code error) {
  const bool left = error == bh::error::end_of_stream || error == bh::error::partial_message ||
                    error == asio::error::eof || error == asio::error::connection_reset ||
                    error == asio::error::operation_aborted;
  if (left && !timed_out_) return close();
  const Refused why = timed_out_ ? Refused{408, "the request did not come in time"} : refused(error);
  keep_ = false;
  head_ = false;
  send(refusal(why.status, why.why));
}

Response Connection::refusal(int status, std::string_view why) const {
  if (server_.options.refusal) return server_.options.refusal(status, why);
  return {status, "text/plain", {}, std::string{why}};
}

void Connection::linger() {
  buffer_.clear();
  stream_.async_read_some(buffer_.prepare(whole_read_size),
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            if (error || self->timed_out_) return self->close();
                            self->linger();
                          });
}

void Connection::close() {
  timer_.cancel();
  beast::error_code ignored;
  (void)stream_.socket().close(ignored);
}

// ---- Server

void Server::Impl::listen() {
  const std::string where = fmt::format("{}:{}", options.host, options.port);
  beast::error_code error;
  const auto fail = [&](const char* what) {
    throw std::runtime_error{fmt::format("{} {}: {}", what, where, error.message())};
  };
  const auto address = asio::ip::make_address(options.host, error);
  if (error) fail("no address of this machine:");
  const tcp::endpoint endpoint{address, options.port};
  (void)acceptor.open(endpoint.protocol(), error);
  if (error) fail("can't listen on");
  acceptor.set_option(asio::socket_base::reuse_address{true});
  (void)acceptor.bind(endpoint, error);
  if (error) fail("can't listen on");
  (void)acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) fail("can't listen on");
  port = acceptor.local_endpoint().port();
}

void Server::Impl::accept() {
  acceptor.async_accept([this](beast::error_code error, tcp::socket socket) {
    if (error == asio::error::operation_aborted || stopping) return;
    if (error) {  // Out of descriptors, for instance: some will be closed.
      pause.expires_after(accept_pause);
      pause.async_wait([this](beast::error_code cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    if (connections.size() < options.connections_max) {
      beast::error_code unknown;
      const auto peer = socket.remote_endpoint(unknown);
      (void)socket.set_option(tcp::no_delay{true}, unknown);
      const auto connection =
          std::make_shared<Connection>(std::move(socket), *this, unknown ? "" : peer.address().to_string());
      connections.insert(connection.get());
      open = connections.size();
      connection->start();
    }
    accept();
  });
}

void Server::Impl::gone(Connection* connection) {
  connections.erase(connection);
  const std::lock_guard lock{mutex};
  open = connections.size();
  if (open == 0) all_gone.notify_all();
}

void Server::Impl::close_idle() {
  beast::error_code ignored;
  (void)acceptor.close(ignored);
  pause.cancel();
  for (Connection* connection : connections) connection->close_if_idle();
}

Server::Server(ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(handler))) {
  impl_->listen();
  impl_->accept();
  impl_->thread = std::thread{[impl = impl_.get()] {
    pthread_setname_np(pthread_self(), "tm-http");
    const auto work = asio::make_work_guard(impl->io);
    impl->io.run();
  }};
}

Server::~Server() { stop({}); }

std::uint16_t Server::port() const noexcept { return impl_->port; }
std::size_t Server::connections() const noexcept { return impl_->open; }

void Server::stop(std::chrono::milliseconds patience) {
  if (!impl_->thread.joinable()) return;
  impl_->stopping = true;
  asio::post(impl_->io, [impl = impl_.get()] { impl->close_idle(); });
  {
    std::unique_lock lock{impl_->mutex};
    impl_->all_gone.wait_for(lock, patience, [&] { return impl_->open == 0; });
  }
  impl_->io.stop();
  impl_->thread.join();
  beast::error_code ignored;  // Else the system goes on taking connections that nobody answers.
  (void)impl_->acceptor.close(ignored);
}

}  // namespace tidemill::http
