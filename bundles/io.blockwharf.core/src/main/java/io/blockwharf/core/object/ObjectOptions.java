package io.blockwharf.core.object;

import io.blockwharf.api.qmp.Branch;
import io.blockwharf.api.qmp.Discriminator;

/**
 * QAPI {@code ObjectOptions}.
 *
 * @param qomType which {@link io.blockwharf.api.qmp.ObjectType}
 * @param id the object's id
 * @param properties the type's own properties
 */
public record ObjectOptions(@Discriminator String qomType, String id, @Branch Record properties) {}
