package io.blockwharf.api.block;

import java.util.Optional;

/**
 * How an image names another one that belongs to it, as the backing file of a qcow2 image.
 *
 * @param filename a path, relative to the folder of the image's own file unless it is absolute; or
 *     {@code json:} and the options of a node as a JSON object; or another protocol's name
 * @param format the driver that understands it; recognised by its content where it is missing.
 *     Ignored for {@code json:}
 */
public record ImageName(String filename, Optional<String> format) {}
