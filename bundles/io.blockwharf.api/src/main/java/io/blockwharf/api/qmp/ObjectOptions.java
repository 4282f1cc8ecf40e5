package io.blockwharf.api.qmp;

/**
 * QAPI {@code ObjectOptions}.
 *
 * @param qomType which {@link ObjectType}
 * @param id the object's id: a letter, then letters, digits, {@code -}, {@code .} and {@code _}
 * @param properties the type's own properties
 */
public record ObjectOptions(@Discriminator String qomType, String id, @Branch Record properties) {}
