package io.blockwharf.api.block;

import io.blockwharf.api.qmp.Branch;
import io.blockwharf.api.qmp.Discriminator;

/**
 * QAPI {@code BlockdevCreateOptions}.
 *
 * @param driver which {@link BlockCreator}
 * @param options its own options
 */
public record BlockdevCreateOptions(@Discriminator String driver, @Branch Record options) {}
