#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

/// Just enough about images for this example: PPM (P6), as it needs no library.
namespace image {

struct Image {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> rgb = {};  ///< Three bytes a pixel, row by row.
};

/// Throws std::runtime_error when the file is no PPM image.
Image read(const std::filesystem::path& file);
/// The file is there whole or not at all, whoever is killed when: written beside it, synced, then renamed.
void write(const std::filesystem::path& file, const Image& image);

/// So wide, in proportion, each pixel the mean of the area that it covers. Never larger than it was.
Image shrink(const Image& image, std::size_t width);

/// A picture that no two numbers share: a part of the Mandelbrot set.
Image draw(std::size_t number, std::size_t width, std::size_t height);

}  // namespace image
